"""Do the presets do good on text that is not Shakespeare? ``python -m bench.presets [PRESET ...]`` (about 10 minutes).

Each preset runs its corpus, train and evaluate stages on two corpora that every machine with Baton has: the source code of
Python's standard library, and the documentation strings of installed packages. It prints held-out perplexities of base and
tuned model, on documents that training never saw, and exits with 1 where the tuned model is worse.
"""

import ast
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

from etl.config import CorpusConfig, SourceConfig, SplitConfig
from evaluation.config import gate_against_base
from handoff.manifest import now
from handoff.run_dir import RunDir
from orchestration.presets import PRESETS

PACKAGES = ("numpy", "pandas", "matplotlib", "torch/nn", "transformers/models")
LEAST_CHARACTERS = 1500
DOCUMENTS = 400
PASSAGES = 24  # of each split that are scored
JOBS = ("etl.job", "training.job", "evaluation.job")


def standard_library(directory: Path) -> None:
    """Source files of Python's standard library, as texts."""
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        (directory / f"{file.stem}.txt").write_text(file.read_text())


def docstrings(directory: Path) -> None:
    """Documentation strings of installed packages, a text per module."""
    site = Path(sysconfig.get_path("purelib"))
    files = [f for name in PACKAGES for f in sorted((site / name).rglob("*.py")) if "test" not in str(f)]
    for file in files[:: max(1, len(files) // DOCUMENTS)]:
        nodes = (
            n
            for n in ast.walk(ast.parse(file.read_text()))
            if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)
        )
        text = "\n\n".join(found for node in nodes if (found := ast.get_docstring(node)))
        if len(text) >= LEAST_CHARACTERS:
            name = str(file.relative_to(site)).replace("/", ".").removesuffix(".py")
            (directory / f"{name}.txt").write_text(text)


CORPORA: dict[str, Callable[[Path], None]] = {"standard library": standard_library, "docstrings": docstrings}


def run_stages(preset: str, name: str, home: Path) -> list[tuple[str, float, float]]:
    """Split, base and tuned perplexity of a preset tuned on a corpus.

    Raises:
        SystemExit: a stage failed.
    """
    raw = home / "raw" / name.replace(" ", "-")
    if not raw.is_dir():
        raw.mkdir(parents=True)
        CORPORA[name](raw)
    config = PRESETS[preset]()
    corpus = CorpusConfig(
        source=SourceConfig(uri=str(raw)),
        passage_chars=config.corpus.passage_chars,
        split=SplitConfig(validation_fraction=0.1, test_fraction=0.1),
        layout=config.corpus.layout,
    )
    evaluation = config.evaluation.model_copy(update={"max_passages": PASSAGES, "gate": gate_against_base(1e9)})
    run = RunDir(str(home / "runs" / f"{preset}-{raw.name}"))
    sections = {"corpus": corpus, "training": config.training, "evaluation": evaluation}
    run.create(str(home / "artifacts"), {key: section.model_dump(mode="json") for key, section in sections.items()})
    for job in JOBS:
        if subprocess.run(
            [sys.executable, "-m", job, run.uri], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ).returncode:
            raise SystemExit(f"{job} failed: run it by hand on {run.uri}")
    splits = run.artifact("evaluate").manifest.facts["splits"]
    return [(split, found["base"]["perplexity"], found["tuned"]["perplexity"]) for split, found in splits.items()]


def main(presets: list[str]) -> int:
    """Run each preset on each corpus and print the table."""
    worse = False
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("BATON_HOME", scratch)
        print(f"{now():%Y-%m-%d} · {os.cpu_count()} cores · perplexity on {PASSAGES} passages of held-out documents")
        print(f"{'preset':8} {'corpus':18} {'split':12} {'base':>8} {'tuned':>8} {'ratio':>7}")
        for preset in presets:
            for name in CORPORA:
                for split, base, tuned in run_stages(preset, name, Path(scratch)):
                    print(f"{preset:8} {name:18} {split:12} {base:8.2f} {tuned:8.2f} {tuned / base:7.3f}", flush=True)
                    worse = worse or tuned > base
    return int(worse)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["tiny", "demo"]))
