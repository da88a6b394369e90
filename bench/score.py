"""Scores of a de-duplication on planted pairs: is the pair's cluster down to one, and should it be."""

import json
from dataclasses import dataclass
from pathlib import Path

DUPLICATE_JACCARD = 0.8


@dataclass(frozen=True)
class Score:
    documents_kept: int
    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float:
        return self.true_positives / max(self.true_positives + self.false_positives, 1)

    @property
    def recall(self) -> float:
        return self.true_positives / max(self.true_positives + self.false_negatives, 1)

    @property
    def f1(self) -> float:
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-12)


def score(truth: Path, kept: Path) -> Score:
    """Each planted pair counts once: found where not both documents were kept, a duplicate from Jaccard 0.8 on.

    A pair of which a third document's cluster took a member counts as found for either side of the comparison.
    """
    ids: set[str] = set()
    for file in kept.glob("[!.]*.json*"):
        with file.open() as lines:
            ids.update(json.loads(line)["id"] for line in lines)
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    with truth.open() as lines:
        for line in lines:
            pair = json.loads(line)
            found = not (pair["first"] in ids and pair["second"] in ids)
            counts[found, pair["jaccard"] >= DUPLICATE_JACCARD] += 1
    return Score(len(ids), counts[True, True], counts[True, False], counts[False, True])
