"""The report of a run: ``python -m reporting.report RUN_DIR`` writes ``report.html`` into the run's directory.

One HTML file without scripts, links or fonts from elsewhere: it opens offline, prints, and can be passed on. It is
written for every run, failed ones too; a missing part says why. The last line printed is its path.
"""

import json
import sys
from pathlib import Path

from handoff.job import log, run_stage
from handoff.machine import describe_machine
from handoff.manifest import current_producer, now
from handoff.run_dir import RunDir, StageRecord
from pages.template import template
from pages.text import shorten, size
from reporting import charts, sections
from reporting.collect import Collected, collect, directory_of
from reporting.samples import LONGEST_TEXT

NAME = "report.html"


def render(run: Collected, machine: dict[str, str]) -> str:
    """The report as one HTML document. Whatever comes from users is escaped, credentials in addresses are masked."""
    model, corpus = run.model.facts, run.corpus
    sentence, tone = sections.outcome(run)
    return template(Path(__file__).parent, excerpt=excerpt, words=sections.words).render(
        run=run,
        title=sections.title(run),
        outcome=sentence,
        tone=tone,
        figures=sections.figures(run),
        funnel=sections.funnel(corpus.manifest, corpus.facts) if corpus.manifest else [],
        histograms=sections.histograms(corpus.facts),
        characters=sections.characters(corpus.facts),
        raw_notes=sections.raw_notes(corpus.facts),
        unaccounted=sections.unaccounted(corpus.manifest, corpus.facts) if corpus.manifest else 0,
        loss_chart=charts.loss_chart(model.steps),
        speed_chart=charts.speed_chart(model.steps),
        throughput_chart=charts.throughput_chart(run.predictions.facts),
        prompt_lengths=sections.lengths(run.predictions.facts.prompt_lengths),
        completion_lengths=sections.lengths(run.predictions.facts.completion_lengths),
        steps_per_point=charts.steps_per_point(len(model.steps)),
        perplexities=sections.perplexities(run.evaluation.facts, run.gate),
        criteria=sections.criteria(run.gate),
        left_out=sections.left_out(run.evaluation.facts),
        versions=versions(run),
        machine=machine,
        config=json.dumps(run.config, indent=2, ensure_ascii=False),
        verify=directory_of(run.predictions) or directory_of(run.model) or directory_of(run.corpus),
        written=now(),
    )


def excerpt(value: str | None) -> str:
    """The beginning of a user's text."""
    return shorten((value or "").strip(), LONGEST_TEXT)


def versions(run: Collected) -> list[tuple[str, str]]:
    """Package and version of every producer in the chain and of this process; several where they differ."""
    found: dict[str, list[str]] = {}
    producers = [n.manifest.producer for n in run.lineage if n.manifest]
    for producer in [*producers, current_producer()]:
        for package, version in producer.versions.items():
            if version not in found.setdefault(package, []):
                found[package].append(version)
    return [(package, ", ".join(v)) for package, v in found.items()]


def body(run: RunDir, record: StageRecord) -> None:
    """Collect, render, write. A run that lacks parts is no error."""
    with record.phase("collect"):
        collected = collect(run)
        machine = describe_machine()
    for stage in collected.stages.values():
        if stage.why:
            log.info("%s: %s", stage.name, stage.why)
    with record.phase("render"):
        page = render(collected, machine).encode("utf-8", "replace")  # JSON may hold a lone surrogate
    with record.phase("write"):
        path = run.write(NAME, page)
    record.headline = f"{NAME}, {size(len(page))}"
    record.metrics = {"path": path, "bytes": len(page)}


def main(arguments: list[str]) -> int:
    code = run_stage("report", body, arguments)
    if code == 0:
        print(RunDir(arguments[0]).uri + f"/{NAME}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
