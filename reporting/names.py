"""Names of models and sources as people read them, from their sections of the configuration."""

import re

_QUANTISATION = re.compile(r"[.-](?:I?Q\d\w*|BF16|F16|F32)$", re.IGNORECASE)


def model_name(base: dict[str, str | None]) -> str:
    """Name of a base model, from its section of the configuration: of a GGUF file, a hub id, a directory."""
    source, member = base.get("source") or "a model", base.get("member") or ""
    if not source.startswith("package:"):
        return source.rstrip("/").rsplit("/", 1)[-1]
    stem = member.rsplit("/", 1)[-1].removesuffix(".gguf")
    return _QUANTISATION.sub("", stem) if stem and "*" not in stem else source.removeprefix("package:").split("==")[0]


def source_name(source: dict[str, str | None]) -> str:
    """Name of raw text, from its section of the configuration: a package, a file, a glob with its directory."""
    uri = source.get("uri") or "text"
    if uri.startswith("package:"):
        return uri.removeprefix("package:").replace("==", " ")
    parts = [p for p in uri.split("://")[-1].split("/") if p]
    return "/".join(parts[-2:] if len(parts) > 1 and "*" in parts[-1] else parts[-1:]) or uri
