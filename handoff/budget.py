"""Checks of written files before they become visible: row counts, and the limits of a Parquet layout."""

from collections.abc import Sequence

from handoff.manifest import FileEntry, Frozen

MIB = 1 << 20
TOLERANCE = 0.2  # of file sizes
EVEN_FROM_ROWS = 1000  # mean rows per file; with fewer, chance alone makes the files of a shuffled split uneven


class Budget(Frozen):
    """Limits of a Parquet layout. A reader opens one file at a time and holds one row group in memory."""

    max_row_group_bytes: int
    max_files: int
    target_file_bytes: int | None = None  # a file may exceed it, and depart from its split's mean, by TOLERANCE


def check(entries: Sequence[FileEntry], rows: dict[str, int] | None, budget: Budget | None) -> list[str]:
    """Every difference between files and their writer's row counts per split, and every breach of the budget."""
    problems = []
    if rows is not None:
        found: dict[str, int] = {}
        for entry in entries:
            found[entry.split or "all"] = found.get(entry.split or "all", 0) + (entry.rows or 0)
        for split in sorted(rows.keys() | found.keys()):
            if rows.get(split, 0) != found.get(split, 0):
                problems.append(
                    f"split {split!r}: {rows.get(split, 0)} rows were counted, {found.get(split, 0)} written"
                )
    if budget is not None:
        parquet = sum(entry.rows is not None for entry in entries)
        if budget.target_file_bytes is not None:
            problems += _uneven(entries, budget.target_file_bytes)
        if parquet > budget.max_files:
            problems.append(f"{parquet} files, the budget is {budget.max_files}: raise target_file_mib or max_files")
        for entry in entries:
            if (entry.largest_row_group_bytes or 0) > budget.max_row_group_bytes:
                problems.append(
                    f"{entry.path}: a row group of {entry.largest_row_group_bytes / MIB:.1f} MiB, "  # type: ignore[operator]
                    f"the budget is {budget.max_row_group_bytes / MIB:.1f}: lower row_group_mib"
                )
    return problems


def _uneven(entries: Sequence[FileEntry], target_bytes: int) -> list[str]:
    """Parquet files that are too large, and those whose size departs from their split's mean."""
    splits: dict[str, list[FileEntry]] = {}
    for entry in entries:
        if entry.rows is not None:
            splits.setdefault(entry.split or "all", []).append(entry)
    problems = []
    for files in splits.values():
        mean = sum(f.bytes for f in files) / len(files)
        many = sum(f.rows or 0 for f in files) / len(files) >= EVEN_FROM_ROWS
        for file in files:
            if many and file.bytes > target_bytes * (1 + TOLERANCE):
                problems.append(
                    f"{file.path}: {file.bytes / MIB:.2f} MiB is more than {TOLERANCE:.0%} above the target of "
                    f"{target_bytes / MIB:.2f} MiB: set target_file_mib to {mean / MIB:.2f} or above"
                )
            elif many and abs(file.bytes - mean) > TOLERANCE * mean:
                problems.append(
                    f"{file.path}: {file.bytes / MIB:.2f} MiB differs by more than {TOLERANCE:.0%} from its split's mean of "
                    f"{mean / MIB:.2f} MiB: change target_file_mib, or lower passage_chars"
                )
    return problems
