"""Configuration of de-duplication."""

import math
from typing import Self

from pydantic import Field

from handoff.identity import Runtime
from handoff.manifest import Frozen


class DedupConfig(Frozen):
    """Repeated passages: one of each cluster is kept. 14 x 8 over 5-grams is FineWeb's choice (Penedo et al. 2024)."""

    fuzzy: bool | None = Field(
        default=None,
        description="also near-duplicates (MinHash), not only texts that are equal but for white space; unset: of passages "
        "yes, of prompts with completions no, as questions about one text are alike",
    )
    ngram_words: int = Field(default=5, description="words in an n-gram", ge=1, le=50)
    bands: int = Field(default=14, description="bands of MinHash: more of them find less similar pairs", ge=1, le=256)
    rows_per_band: int = Field(default=8, description="minima per band: more of them pass fewer pairs", ge=1, le=64)
    min_jaccard: float = Field(
        default=0.8,
        description="least Jaccard similarity of two passages' n-grams to be near-duplicates; passages so short that one "
        "changed word takes them below it (49 words by default) have exact duplicates only",
        gt=0,
        le=1,
    )
    keep_signatures: Runtime[bool] = Field(
        default=True,
        description="cache MinHash signatures in the store (about 150 bytes a passage), so that the next snapshot of this "
        "source computes those of new passages only; the rows are the same",
    )

    @property
    def finds_near(self) -> bool:
        """Whether near-duplicates are looked for."""
        return self.fuzzy is not False

    @property
    def least_ngrams(self) -> int:
        """N-grams from which on a text may have near-duplicates: one changed word within it leaves it similar enough.

        With g n-grams of n words the similarity is then (g - n) / (g + n). A shorter text could differ only at its ends
        or in punctuation: `x is 5` and `x is -5`, questions with another last word.
        """
        least = min(self.min_jaccard, 0.99)
        return math.ceil(round(self.ngram_words * (1 + least) / (1 - least), 6))

    def for_pairs(self) -> Self:
        """A copy for prompts with completions: near-duplicates are looked for only where that was asked for."""
        return self.model_copy(update={"fuzzy": bool(self.fuzzy)})

    @property
    def reuses_signatures(self) -> bool:
        """Whether signatures are cached. Fingerprints alone are not: computing them is as fast as reading them."""
        return self.keep_signatures and self.finds_near
