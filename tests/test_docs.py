"""What the pages name exists: links, files, commands, make targets, settings; and every decision is in the index."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.form_fields import INFERENCE, TRAINING
from orchestration.run_config import InferenceRunConfig, RunConfig

ROOT = Path(__file__).resolve().parent.parent
# Git knows which pages are the project's own; new ones count before they are committed.
LISTED = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
NAMES = subprocess.run(LISTED, capture_output=True, text=True, check=True).stdout.split()
PAGES = sorted(name for name in NAMES if (ROOT / name).exists())
# Pages about settings, and what they write like one that is none: drop reasons, columns, names of DAGs and assets.
MANUAL = ("docs/corpus.md", "docs/training.md", "docs/evaluation.md", "docs/inference.md")
NO_SETTINGS = {
    "malformed_record", "record_too_long", "record_not_parsed", "text_is_no_string", "save_to_disk", "no_text", "no_id", "prompt_tokens", "completion_tokens", "batch_inference", "spark_to_ray",
    "corpus_snapshot", "promoted_model", "training.job", "finish_reason", "resumed_rows", "row_id",
    "log_likelihood", "baseline_log_likelihood", "bits_per_byte", "doc_id", "evaluation.job", "quarantined.jsonl",
    "scipy.stats.bootstrap",
}  # fmt: skip
MADE_BY_THE_READER = {  # of docs/add-a-stage.md and docs/edit-a-dag.md
    "etl/inspection.py", "tests/etl/test_inspection.py", "etl.inspection", "dags/books.py",
}  # fmt: skip


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def settings(schema: dict[str, Any]) -> Iterator[str]:
    """Names of all fields of a configuration and of the classes in it."""
    for part in (schema, *schema.get("$defs", {}).values()):
        yield from part.get("properties", ())


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / page).parent / path if path else ROOT / page
        assert found.exists(), f"{page} links to {target}, which does not exist"
        assert not anchor or anchor in anchors(found), f"{page} links to {target}, a heading that does not exist"


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_files_exist(page: str) -> None:
    text = text_of(page)
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    named = re.findall(r"`make ([a-z-]+)`|^    make ([a-z-]+)", text, re.MULTILINE)
    assert {a or b for a, b in named} <= targets
    for module in set(re.findall(r"python -m ([a-z_]+\.[a-z_.]+)", text)) - MADE_BY_THE_READER:
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), f"{page} names python -m {module}"
    for path in set(re.findall(r"`([a-z_]+/[\w./-]+\.(?:py|txt|html|css))`", text)) - MADE_BY_THE_READER:
        assert (ROOT / path).exists(), f"{page} names {path}, which does not exist"


@pytest.mark.parametrize("page", MANUAL)
def test_settings_exist(page: str) -> None:
    schemas = [config.model_json_schema() for config in (RunConfig, InferenceRunConfig)]
    known = {name for schema in schemas for name in settings(schema)} | {*TRAINING.names, *INFERENCE.names}
    written = set(re.findall(r"`([a-z]+(?:[._][a-z_]+)+)(?:: [^`]*)?`", text_of(page))) - NO_SETTINGS
    written -= {name for name in written if name.endswith((".py", ".json", ".html", ".db"))}
    assert len(written) > 5, "no setting was looked at"
    unknown = {name for name in written if not set(name.split(".")) <= known}
    assert not unknown, f"{page} names settings that do not exist: {', '.join(sorted(unknown))}"


def test_every_decision_is_in_the_index_once() -> None:
    directory = ROOT / "docs" / "decisions"
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (directory / "README.md").read_text())
    assert sorted(listed) == sorted(page.name for page in directory.glob("*.md") if page.name != "README.md")
