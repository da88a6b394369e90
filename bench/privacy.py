"""``python -m bench.privacy``: personal data and secrets found by Baton, Presidio and detect-secrets, in one run.

Two labelled sets: the 1,500 sentences that Presidio's own evaluator ships (synthetic; cards, e-mail addresses, IP
addresses, IBANs, telephone numbers), and Baton's table of cases (tests/etl/privacy_cases.py, which Baton passes by
construction). A label counts as found if a find of its kind overlaps it; a find that overlaps no label of its kind is
wrong. Baton's patterns were written with the first set at hand, Presidio's makers generated it.

It fails if Baton is behind Presidio on the first set, in precision or recall over all kinds.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from typing import Any

from bench.etl import CORES, HEAP, HOME, interpreter
from bench.spark import start
from etl.config import PrivacyConfig
from etl.privacy import PLACEHOLDERS, redact
from tests.etl.privacy_cases import CASES

PEERS = ["presidio-analyzer==2.2.366", "detect-secrets==1.5.0"]
SET = "presidio-evaluator==0.3.2"
SET_SHA256 = "2ec1be3710a2843553a5fb185916d85b0fa174fb9e1927e03ea83152fdc95eb1"
KINDS = {
    "EMAIL_ADDRESS": "email",
    "CREDIT_CARD": "card",
    "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone",
    "IBAN_CODE": "iban",
}
Span = tuple[str, int, int]  # kind, start, end


def shipped() -> list[tuple[str, list[Span]]]:
    """Texts of Presidio's evaluator with their labels.

    Raises:
        SystemExit: the package has another digest.
    """
    target = HOME / "presidio-evaluator"
    if not list(target.glob("*.tar.gz")):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "--dest", str(target), SET], check=True)
    [archive] = target.glob("*.tar.gz")
    if (found := hashlib.sha256(archive.read_bytes()).hexdigest()) != SET_SHA256:
        raise SystemExit(f"ERROR {SET} has sha256 {found}")
    with tarfile.open(archive) as files:
        [member] = [m for m in files.getmembers() if m.name.endswith("/data/synth_dataset_v2.json")]
        file = files.extractfile(member)
        assert file is not None
        records = json.load(file)
    return [
        (
            record["full_text"],
            [
                (KINDS[s["entity_type"]], s["start_position"], s["end_position"])
                for s in record["spans"]
                if s["entity_type"] in KINDS
            ],
        )
        for record in records
    ]


def spans(raw: str, redacted: str) -> list[Span]:
    """Where placeholders stand that the raw text does not have."""
    names = "|".join(mark.strip("<>") for mark in PLACEHOLDERS.values())
    parts = re.split(rf"<({names})>", redacted)
    found = re.fullmatch("(.+?)".join(re.escape(part) for part in parts[::2]), raw, re.DOTALL)
    assert found is not None, (raw, redacted)
    every = [(kind.lower(), *found.span(number + 1)) for number, kind in enumerate(parts[1::2])]
    return [(kind, first, last) for kind, first, last in every if raw[first:last] != PLACEHOLDERS[kind]]


def ours(texts: list[str]) -> list[list[Span]]:
    """What Baton finds."""
    spark = start(HOME / "privacy-out", CORES, HEAP, str(HOME))
    rows = [(f"{number:06d}", text) for number, text in enumerate(texts)]
    done = redact(spark.createDataFrame(rows, "doc_id string, text string"), PrivacyConfig())
    redacted = [row.text for row in done.select("doc_id", "text").orderBy("doc_id").collect()]
    spark.stop()
    return [spans(*pair) for pair in zip(texts, redacted, strict=True)]


def theirs(texts: list[str]) -> dict[str, list[list[Span]]]:
    """What the peers find, by their names."""
    given, out = HOME / "privacy-out" / "texts.json", HOME / "privacy-out" / "found.json"
    given.write_text(json.dumps(texts))
    python = interpreter("privacy", PEERS)
    subprocess.run(
        [python, "-P", "bench/privacy_peers.py", str(given), str(out)], check=True, stderr=subprocess.DEVNULL
    )
    found: list[list[Any]] = json.loads(out.read_text())
    return {
        peer: [[(kind, first, last) for kind, first, last, by in text if by == peer] for text in found]
        for peer in ("presidio", "detect-secrets")
    }


def score(labels: list[list[Span]], found: list[list[Span]], kinds: list[str]) -> tuple[float, float]:
    """Precision and recall over these kinds."""

    def meets(one: Span, others: list[Span]) -> bool:
        return any(one[0] == kind and one[1] < last and first < one[2] for kind, first, last in others)

    counts: Counter[str] = Counter()
    for wanted, got in zip(labels, found, strict=True):
        counts["right"] += sum(meets(span, wanted) for span in got if span[0] in kinds)
        counts["all"] += sum(span[0] in kinds for span in got)
        counts["hit"] += sum(meets(span, got) for span in wanted if span[0] in kinds)
        counts["wanted"] += sum(span[0] in kinds for span in wanted)
    return counts["right"] / max(counts["all"], 1), counts["hit"] / max(counts["wanted"], 1)


def main() -> None:
    """Print precision and recall of each by kind."""
    shutil.rmtree(HOME / "privacy-out", ignore_errors=True)
    (HOME / "privacy-out").mkdir(parents=True)
    theirs_set = shipped()
    table = [(raw, spans(raw, wanted)) for raw, wanted in CASES]
    texts = [text for text, _ in (*theirs_set, *table)]
    found = {"baton": ours(texts), **theirs(texts)}
    cut = len(theirs_set)
    overall: dict[str, tuple[float, float]] = {}
    for name, labelled, part in ((SET, theirs_set, slice(cut)), ("Baton's cases", table, slice(cut, None))):
        labels = [labels for _, labels in labelled]
        print(f"{name}: {len(labelled):,} texts, {sum(map(len, labels)):,} labels")
        kinds = [kind for kind in PLACEHOLDERS if any(span[0] == kind for text in labels for span in text)]
        for peer, all_found in found.items():
            can = {"presidio": list(KINDS.values()), "detect-secrets": ["key"]}.get(peer, kinds)
            rows = [kind for kind in kinds if kind in can]
            if not rows:
                continue
            cells = [f"{kind} {p:.3f}/{r:.3f}" for kind in rows for p, r in [score(labels, all_found[part], [kind])]]
            total = score(labels, all_found[part], rows)
            overall.setdefault(peer, total)
            print(f"  {peer:<15} precision/recall: all {total[0]:.3f}/{total[1]:.3f}  {'  '.join(cells)}")
    shutil.rmtree(HOME / "privacy-out")
    if any(mine < other for mine, other in zip(overall["baton"], overall["presidio"], strict=True)):
        raise SystemExit(f"ERROR Baton is behind Presidio on {SET}: {overall}")


if __name__ == "__main__":
    main()
