"""The prompts as an artifact: made from files, a corpus or the defaults, written a row group at a time."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from handoff import schema
from handoff.artifact import Artifact, open_artifact
from handoff.errors import ConfigError, SourceError
from handoff.manifest import FileEntry
from handoff.publish import NO_CODE, Staging, describe_in_place, obtain
from handoff.store import Store
from inference import prompt_rows
from inference.config import InferenceConfig
from inference.openings import default_prompts
from inference.prompt_file import Columns, prompt_files, read_prompts
from inference.template import columns_of

CODE_VERSION = 1  # part of the id: raise it when the same input gives other rows
CORPUS_DIRECTORY = re.compile(r"(?P<root>.+)/corpus/(?P<id>corpus-[0-9a-f]{16})/?")


def check_prompts(config: InferenceConfig) -> None:
    """Look at the first rows before any stage runs.

    Raises:
        SourceError: naming what is wrong with the file.
        ArtifactError: a corpus that is not as its manifest says.
    """
    if config.prompts is None:
        refuse_columns(config)
        return
    if corpus := corpus_at(config.prompts):
        _corpus_columns(config, open_artifact(Store(corpus["root"]), corpus["id"], split=config.prompts_split))
        return
    files = prompt_files(config.prompts)
    if next(read_prompts(files[0], columns(config)), None) is None:
        raise no_prompts(config)


def refuse_columns(config: InferenceConfig) -> None:
    """The default prompts have no further columns. Raises ConfigError where some are asked for."""
    if config.task == "score":
        raise ConfigError(
            "the task score needs completions, and the default prompts have none. Remedy: set inference.prompts to a file "
            "or a corpus with a column completion, or inference.completion_column"
        )
    if more := columns(config).more:
        raise ConfigError(
            f"the template or carry names the column {more[0]}, and the default prompts have none besides prompt. "
            "Remedy: set inference.prompts, or correct the template"
        )


def corpus_at(uri: str) -> dict[str, str] | None:
    """Store and id of the corpus whose directory this is; None where it is none."""
    return found.groupdict() if (found := CORPUS_DIRECTORY.fullmatch(uri)) else None


def columns(config: InferenceConfig) -> Columns:
    """The configured columns of prompt files."""
    more = tuple(dict.fromkeys((*columns_of(config.template), *config.carry)))
    return Columns(config.id_column or "id", config.prompt_column or "prompt", _completion(config), more)


def _completion(config: InferenceConfig) -> str | None:
    return (config.completion_column or "completion") if config.task == "score" else None


def publish_prompts(store: Store, config: InferenceConfig, corpus: Artifact | None) -> Artifact:
    """The prompts artifact, made unless it is there already.

    Args:
        store: where to publish.
        config: names the input.
        corpus: the snapshot whose test split gives openings, where ``prompts`` is unset.

    Raises:
        SourceError: input that is missing or not as declared, or has an id twice.
        ConfigError: openings are wanted and the model has no corpus among its parents.
    """
    parent, tables, made = _input(store, config, corpus)

    def make(place: Staging) -> Artifact:
        rows, declared = _write(tables, place, str(config.prompts))
        if not rows:
            raise no_prompts(config)
        return place.publish(schema=declared, rows={"all": rows})

    return obtain(store, "prompts", CODE_VERSION, made, [parent] if parent else [], make).artifact


def no_prompts(config: InferenceConfig) -> SourceError:
    return SourceError(f"prompts {config.prompts}: no prompts in it. Remedy: correct the path, or fill it")


def _input(
    store: Store, config: InferenceConfig, corpus: Artifact | None
) -> tuple[Artifact | None, Iterator[pa.Table], dict[str, Any]]:
    """The artifact that prompts are made from, their rows, and what besides determines them."""
    if config.prompts is None:
        refuse_columns(config)
        rows = default_prompts(config, corpus)
        names = ("id", "prompt", "source")
        table = pa.table({n: pa.array(c, pa.string()) for n, c in zip(names, zip(*rows, strict=True), strict=True)})
        taken = {"held_out_prompts": config.held_out_prompts, "opening_words": config.opening_words}
        return corpus if config.held_out_prompts else None, iter([table]), taken
    if at := corpus_at(config.prompts):
        if Store(at["root"]).root != store.root:
            raise ConfigError(
                f"prompts {config.prompts}: a corpus of another store. Remedy: copy its Parquet files, and name their "
                "directory"
            )
        snapshot = open_artifact(store, at["id"], split=config.prompts_split)
        kept = _corpus_columns(config, snapshot)
        files, label = snapshot.files(config.prompts_split), config.prompts_split
        split = {"split": config.prompts_split}
        return snapshot, _read(files, kept, lambda _: label), {**_told(kept), **split}
    files, kept = prompt_files(config.prompts), columns(config)
    entries = [describe_in_place(uri) for uri in files]
    return _raw(store, entries), _read(files, kept, lambda uri: uri.rsplit("/", 1)[-1]), _told(kept)


def _raw(store: Store, entries: list[FileEntry]) -> Artifact:
    """The raw artifact of prompt files, which are used in place."""
    settings = {"prompts": [[entry.path, entry.sha256] for entry in entries]}
    return obtain(store, "raw", NO_CODE, settings, [], lambda place: place.publish(in_place=entries)).artifact


def _told(kept: Columns) -> dict[str, Any]:
    given = {"completion": kept.completion} if kept.completion else {}
    return {"id": kept.id, "prompt": kept.prompt, **given, "more": list(kept.more)}


def _corpus_columns(config: InferenceConfig, corpus: Artifact) -> Columns:
    """The columns of a corpus. Raises SourceError where it lacks one."""
    names = [field["name"] for field in corpus.manifest.fields or ()]
    text = "prompt" if "prompt" in names else "text"
    kept = Columns(
        config.id_column or "row_id", config.prompt_column or text, _completion(config), columns(config).more
    )
    if missing := [name for name in kept.all if name not in names]:
        raise SourceError(
            f"prompts {config.prompts}: no column {' and '.join(missing)} (it has {', '.join(names)}). Remedy: name a "
            "column that the corpus has, or another corpus"
        )
    return kept


def _read(files: list[str], kept: Columns, source: Any) -> Iterator[pa.Table]:
    for uri in files:
        for table in read_prompts(uri, kept):
            yield table.append_column("source", pa.array([source(uri)] * len(table), pa.string()))


def _write(tables: Iterator[pa.Table], place: Staging, subject: str) -> tuple[int, pa.Schema]:
    """Write rows with their positions; one row group is held at a time, and eight bytes per id."""
    from inference.repeated_ids import IdHashes

    hashes = IdHashes()
    writer: pq.ParquetWriter | None = None
    declared, rows = schema.PROMPTS, 0
    try:
        for group in _regrouped(tables, subject):
            hashes.add(group["id"])
            if rows == 0:
                more = [f for f in group.schema if f.name not in schema.PROMPTS.names]
                declared = schema.with_columns(schema.PROMPTS, more)
            group = group.append_column("position", pa.array(np.arange(rows, rows + len(group)), pa.int64()))
            if rows % prompt_rows.FILE_ROWS == 0:
                if writer is not None:
                    writer.close()
                filesystem, path = place.store.locate(f"{place.path}/part-{rows // prompt_rows.FILE_ROWS:05d}.parquet")
                place.uri()  # makes the directory
                writer = pq.ParquetWriter(path, declared, filesystem=filesystem)
            assert writer is not None
            _write_group(writer, group, declared, subject)
            rows += len(group)
    finally:
        if writer is not None:
            writer.close()
    hashes.refuse_repeated(subject, lambda: _ids(place))
    return rows, declared


def _write_group(writer: pq.ParquetWriter, group: pa.Table, declared: pa.Schema, subject: str) -> None:
    try:
        writer.write_table(group.select(declared.names).cast(declared), row_group_size=prompt_rows.GROUP_ROWS)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise _several_types(subject, error) from None


def _several_types(subject: str, error: Exception) -> SourceError:
    return SourceError(
        f"prompts {subject}: a further column has other types in other files ({str(error).splitlines()[0]}). "
        "Remedy: give it one type"
    )


def _regrouped(tables: Iterator[pa.Table], subject: str) -> Iterator[pa.Table]:
    """The same rows in tables of ``prompt_rows.GROUP_ROWS``. Raises SourceError where they cannot be in one."""
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += len(table)
        while count >= prompt_rows.GROUP_ROWS:
            whole = _joined(waiting, subject)
            yield whole.slice(0, prompt_rows.GROUP_ROWS)
            waiting = [whole.slice(prompt_rows.GROUP_ROWS)]
            count -= prompt_rows.GROUP_ROWS
    if count:
        yield _joined(waiting, subject)


def _joined(tables: list[pa.Table], subject: str) -> pa.Table:
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise _several_types(subject, error) from None


def _ids(place: Staging) -> Iterator[pa.ChunkedArray]:
    for name in sorted(place.store.files(place.path)):
        filesystem, path = place.store.locate(name)
        with pq.ParquetFile(path, filesystem=filesystem) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=["id"])["id"]
