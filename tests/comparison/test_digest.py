"""Outputs are equal by their rows, however these lie in files; what differs is noticed."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comparison.digest import close, digest_of


def write(directory: Path, *tables: pa.Table, **options: int) -> Path:
    directory.mkdir(parents=True)
    for number, table in enumerate(tables):
        pq.write_table(table, directory / f"part-{number}.parquet", **options)
    return directory


ROWS = pa.table({"id": [1, 2, 3, 4], "text": ["a", "b", "ü", None], "words": [["x"], [], None, ["y", "z"]]})


def test_files_row_groups_order_and_columns_make_no_difference(tmp_path: Path) -> None:
    one = write(tmp_path / "one", ROWS)
    parts = [ROWS.slice(2), ROWS.slice(0, 2)]
    other = write(tmp_path / "other", *(part.select(["words", "text", "id"]) for part in parts), row_group_size=1)
    (other / "_SUCCESS").touch()
    (other / "_temporary").mkdir()
    pq.write_table(ROWS, other / "_temporary" / "left.parquet")
    assert digest_of(one) == digest_of(other)
    assert digest_of(one).rows == 4


@pytest.mark.parametrize(
    "changed",
    [
        ROWS.slice(1),
        pa.concat_tables([ROWS, ROWS.slice(0, 1)]),
        ROWS.set_column(0, "id", pa.array([1, 2, 3, 5])),
        ROWS.set_column(1, "text", pa.array(["a", "b", "ü", ""])),
        ROWS.rename_columns(["id", "txt", "words"]),
        # The same values in other rows: a sum over columns would not notice.
        ROWS.set_column(1, "text", pa.array(["b", "a", "ü", None])),
    ],
    ids=["a row lost", "a row twice", "a value", "null and empty", "a name", "swapped"],
)
def test_a_difference_is_noticed(changed: pa.Table, tmp_path: Path) -> None:
    assert digest_of(write(tmp_path / "one", ROWS)) != digest_of(write(tmp_path / "other", changed))


def test_order_counts_where_it_is_asked_for(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", ROWS), write(tmp_path / "other", ROWS.take([1, 0, 2, 3]))
    assert digest_of(one) == digest_of(other)
    assert digest_of(one, "ordered") != digest_of(other, "ordered")
    cut = write(tmp_path / "cut", ROWS.slice(0, 3), ROWS.slice(3))
    assert digest_of(one, "ordered") == digest_of(cut, "ordered")


def test_no_output_is_an_error_not_an_empty_digest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest_of(tmp_path)


def test_floats_are_close_or_told_apart(tmp_path: Path) -> None:
    def vectors(name: str, values: list[list[float]], ids: list[int]) -> Path:
        return write(tmp_path / name, pa.table({"vector": values, "id": ids}))

    one = vectors("one", [[1.0, 2.0], [3.0, 4.0]], [1, 2])
    assert close(one, vectors("near", [[3.0, 4.000001], [1.0, 2.0]], [2, 1]), 1e-5) is None
    assert "up to 0.01" in (close(one, vectors("far", [[1.0, 2.0], [3.0, 4.01]], [1, 2]), 1e-5) or "")
    assert close(one, vectors("nan", [[1.0, 2.0], [3.0, float("nan")]], [1, 2]), 1e-5)
    assert "column id" in (close(one, vectors("ids", [[1.0, 2.0], [3.0, 4.0]], [1, 3]), 1e-5) or "")
    assert "rows" in (close(one, vectors("fewer", [[1.0, 2.0]], [1]), 1e-5) or "")
