"""Score of a de-duplication on planted pairs: was one of the two removed, and should it have been?"""

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
    """Count planted pairs: found if not both documents were kept, a duplicate if their Jaccard is at least 0.8.

    A pair also counts as found if one of its documents was removed as the duplicate of a third one, for both sides.
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
