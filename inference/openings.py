"""The default prompts: openings of held-out passages, and a dozen prompts in modern English."""

import re
from collections.abc import Iterator

import pyarrow.parquet as pq

from handoff.artifact import Artifact
from handoff.errors import ConfigError
from handoff.parquet import batches
from inference.config import InferenceConfig

# Everyday openings with nothing of the corpus in them: what the tuned model makes of them shows the style it learnt.
MODERN = (
    "The meeting this morning was about",
    "My phone battery died just as",
    "Dear customer, thank you for your",
    "I went to the supermarket and",
    "The new manager told us that",
    "When the train finally arrived,",
    "Yesterday my best friend said to me:",
    "The weather forecast for tomorrow is",
    "After the football match, the crowd",
    "Our neighbours have bought a new car, and",
    "She opened the laptop and typed:",
    "The doctor looked at me and said,",
)

# How many passages of the split to look through, per prompt wanted, for ones that begin like running text.
CANDIDATES_PER_PROMPT = 40


def default_prompts(config: InferenceConfig, corpus: Artifact | None) -> list[tuple[str, str, str]]:
    """(id, prompt, source) of each: openings where there are any, then the modern ones.

    Raises:
        ConfigError: openings are wanted and the model has no corpus among its parents.
    """
    return held_out(config, corpus) + [(f"modern-{n:02d}", text, "modern") for n, text in enumerate(MODERN, start=1)]


def held_out(config: InferenceConfig, corpus: Artifact | None) -> list[tuple[str, str, str]]:
    """Openings of test passages, or the prompts of a test split of pairs, as (id, prompt, source), each from another passage, always the same ones.

    The snapshot's order is shuffled with a seed, so the first suitable passages are a fair sample of the split.
    Passages no longer than the opening are left out; ones that begin like running text come first.
    """
    if config.held_out_prompts == 0:
        return []
    if corpus is None:
        raise ConfigError(
            "held_out_prompts: the model was not trained from a corpus of this store, so there is no test split. "
            "Remedy: set inference.prompts to a file, or held_out_prompts to 0"
        )
    good: list[tuple[str, str, str]] = []
    other: list[tuple[str, str, str]] = []
    for seen, (row_id, text, is_prompt) in enumerate(_passages(corpus, "test")):
        if len(good) == config.held_out_prompts or seen >= CANDIDATES_PER_PROMPT * config.held_out_prompts:
            break
        if is_prompt:
            good.append((f"held-out-{row_id}", text, "held-out"))
        elif (opening := opening_of(text, config.opening_words)) is not None:
            (good if begins_like_text(opening) else other).append((f"held-out-{row_id}", opening, "held-out"))
    return (good + other)[: config.held_out_prompts]


def opening_of(text: str, words: int) -> str | None:
    """The first words of a text with its own spaces and line ends; None where nothing would be left to write."""
    found = re.match(rf"\s*((?:\S+\s+){{{words - 1}}}\S+)\s+\S", text)
    return found.group(1) if found else None


def begins_like_text(opening: str) -> bool:
    """Whether an opening is running text: a capital first, and no stage direction, heading or list."""
    first_line = opening.split("\n", 1)[0]
    letters = [c for c in opening if c.isalpha()]
    capitals = sum(c.isupper() for c in letters)
    return (
        opening[0].isupper()
        and not first_line.isupper()
        and capitals <= 0.25 * len(letters)
        and not re.match(r"(?i)(act|scene|enter|exit|exeunt|chapter)\b", opening)
        and not re.search(r"[\[\]_*|<>]", opening)
    )


def _passages(corpus: Artifact, split: str) -> Iterator[tuple[str, str, bool]]:
    """Row id and text of each row, or the prompt and True where the corpus has prompts with completions."""
    for file in corpus.files(split):
        filesystem, path = corpus.store.locate(file)
        with pq.ParquetFile(path, filesystem=filesystem) as parquet:
            paired = "prompt" in parquet.schema_arrow.names
            text = "prompt" if paired else "text"
            for batch in batches(parquet, ["row_id", text], 256):
                for row_id, words in zip(batch["row_id"].to_pylist(), batch[text].to_pylist(), strict=True):
                    yield row_id, words, paired
