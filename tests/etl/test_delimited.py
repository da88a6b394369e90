"""Broken .csv files: what is lost is counted, line by line, and reading goes on at the next record."""

import csv
import gzip
import io
import random
import re
from pathlib import Path
from typing import Any

import pytest

from etl.config import SourceConfig
from etl.read.check import check_source
from etl.read.delimited import Dialect, dialect_of
from handoff.errors import SourceError
from tests.etl.test_files import read

COUNT = 5000


def numbered(**lines: str) -> str:
    """Records of a number and a text, some lines replaced: ``line_10="…"``."""
    rows = {f"line_{n}": f"{n},The shepherd counted {n} sheep and went home" for n in range(1, COUNT + 1)} | lines
    return "id,text\n" + "\n".join(rows.values()) + "\n"


STRAY = '10,"The baker shut the door and said nothing'


@pytest.mark.parametrize(
    "line",
    [
        STRAY,
        '10,"The "baker" said nothing',
        "10,The baker\nsaid nothing",  # a line end that should have been quoted
        "10,a,b",
        "10",
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_one_broken_record_costs_itself(tmp_path: Path, line: str, suffix: str) -> None:
    data = numbered(line_10=line).encode()
    found = read(tmp_path, f"a.{suffix}", gzip.compress(data) if "gz" in suffix else data, id_column="id")
    good = [r for r in found if r.reason is None]
    lost = [r for r in found if r.reason]
    assert len([r for r in good if r.doc_id != "10"]) == COUNT - 1, "all others are read"
    assert (
        len(lost) == 1 and lost[0].reason == "malformed_record" and lost[0].lost_bytes == len(line.split("\n")[-1]) + 1
    )
    assert (lost[0].doc_id or "").startswith(f"a.{suffix}: line 1{1 + line.count(chr(10))}, byte ")
    assert sum(r.raw_bytes for r in found) == len(data)


@pytest.mark.parametrize("every", [1, 2])
def test_stray_quotation_marks_among_quoted_records(tmp_path: Path, every: int) -> None:
    """The mark is closed by the next record's, and the two must not become one record."""
    lines = [f'{n},"Text of {n}, quoted","t"' for n in range(1, COUNT + 1)]
    lines[9::100] = [f'{n},"The baker said nothing,t' for n in range(10, COUNT + 1, 100)]
    found = read(tmp_path, "a.csv", ("id,text,tag\n" + "\n".join(lines)).encode(), id_column="id")
    assert [r.doc_id for r in found if r.reason is None] == [str(n) for n in range(1, COUNT + 1) if (n - 10) % 100]
    assert sum(r.reason == "malformed_record" for r in found) == COUNT // 100


def test_the_rest_of_a_broken_record_is_no_record(tmp_path: Path) -> None:
    """Its lines may have as many commas as records have."""
    broken = '6,"He said "no"\nand, so\nthey left, all\nof them"'
    lines = [f'{n},"Text {n}\nhas two lines"' for n in range(1, 6)] + [broken, '7,"Last, at last"']
    found = read(tmp_path, "a.csv", ("id,text\n" + "\n".join(lines) + "\n").encode(), id_column="id")
    assert [r.doc_id for r in found if r.reason is None] == ["1", "2", "3", "4", "5", "7"]
    assert sum(r.lost_bytes for r in found) == len(broken) + 1 and sum(r.reason is not None for r in found) == 4


def test_a_file_whose_columns_change_their_look_is_read_on(tmp_path: Path) -> None:
    lines = [f"{n},text {n}" for n in range(300)] + ["broken"] + [f"n{n} x,text {n}" for n in range(300)]
    found = read(tmp_path, "a.csv", ("id,text\n" + "\n".join(lines) + "\n").encode(), id_column="id")
    assert sum(r.reason is None for r in found) == 500, "after 100 lines the number of fields is enough"


TEXTS = [
    "plain",
    'with "quotes"',
    '"all quoted"',
    "a, b; c\td | e",
    "two\nlines",
    "ends \\",
    'C:\\dir\\ "x"',
    "$\\alpha$",
    '\\"',
]


def written(**how: Any) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, **how)
    writer.writerows([("id", "text"), *enumerate(TEXTS)])
    return out.getvalue().encode()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_dialect_is_found(tmp_path: Path, delimiter: str, quoting: Any, end: str) -> None:
    data = written(delimiter=delimiter, quoting=quoting, lineterminator=end)
    found = read(tmp_path, "a.csv", data, id_column="id")
    assert [r.text for r in found] == TEXTS and sum(r.raw_bytes for r in found) == len(data)


def as_spark_writes(text: str) -> str:
    """Quoted where needed; then marks and backslashes have a backslash before them."""
    if not any(c in text for c in ',"\n'):
        return text
    escaped = re.sub(r'(["\\])', r"\\\1", text)
    return f'"{escaped}"'


def test_spark_writes_backslashes_before_quotation_marks(tmp_path: Path) -> None:
    texts = [*TEXTS, 'he said "no"', '"yes", she said', "$\\alpha$, $\\beta$", 'a \\\\ b\n"c" \\']
    lines = [f"{n},{as_spark_writes(t)}" for n, t in enumerate(texts)]
    lines[1:1] = ['x,"The baker said nothing', 'y,"The \\"baker\\" "said"']
    found = read(tmp_path, "a.csv", ("id,text\n" + "\n".join(lines) + "\n").encode(), id_column="id")
    assert [(r.doc_id, r.text) for r in found if r.reason is None] == [(str(n), t) for n, t in enumerate(texts)]
    assert sum(r.reason is not None for r in found) == 2
    hand_written = b'id,text\n1,"He said \\"$\\alpha$\\""\n'
    assert [r.text for r in read(tmp_path, "b.csv", hand_written, id_column="id")] == ['He said "$\\alpha$"']


def test_spark_itself_is_read(spark: Any, tmp_path: Path) -> None:
    texts = [*TEXTS, 'he said "no", twice']
    rows = spark.createDataFrame(list(enumerate(texts)), "id int, text string").coalesce(1)
    rows.write.csv(f"{tmp_path}/out", header=True)
    (part,) = (tmp_path / "out").glob("part-*.csv")
    found = read(tmp_path, "a.csv", part.read_bytes(), id_column="id")
    one_line = [(r.doc_id, r.text) for r in found if r.reason is None]
    assert one_line == [(str(n), t) for n, t in enumerate(texts)]


def test_tab_separated_values_without_quotation_marks(tmp_path: Path) -> None:
    data = b'text\tn\n5" disk\t1\n"he said\t2\nno\t3\n'
    assert [r.text for r in read(tmp_path, "a.tsv", data)] == ['5" disk', '"he said', "no"]


def test_old_line_ends_and_blanks_after_names(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", b"id, text\r1,one\r2,two\r", id_column="id")
    assert [(r.doc_id, r.text) for r in found] == [("1", "one"), ("2", "two")]


WORDS = ["the", "keeper", "wrote,", "down", "every;", "ship", "that", '"passed"', "its", "flag", "it's", '5"', "long"]


@pytest.mark.parametrize("seed", range(60))
def test_no_whole_record_is_lost_or_changed_beside_broken_ones(tmp_path: Path, seed: int) -> None:
    """Of files in any dialect with a few records damaged: a stray or inserted quotation mark, or half of the record."""
    draw = random.Random(seed)
    count, delimiter = draw.randint(20, 300), draw.choice(",;\t")
    quoting, spans = draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]), draw.random() < 0.5
    whole: dict[str, str] = {}
    lines = []
    for number in range(count):
        text = " ".join(draw.choices(WORDS, k=draw.randint(1, 40)))
        text = text.replace(" ", "\n", 1) if spans and draw.random() < 0.3 else text
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerow((number, text, "tag"))
        line = out.getvalue()
        if draw.random() < 0.02:
            at = draw.randrange(len(line) - 1)
            stray = f'{number}{delimiter}"The baker said nothing{delimiter}tag\n'
            line = draw.choice([stray, f'{line[:at]}"{line[at:]}', f"{line[: len(line) // 2]}\n"])
        else:
            whole[str(number)] = text
        lines.append(line)
    data = (delimiter.join(("id", "text", "tag")) + "\n" + "".join(lines)).encode()
    found = read(tmp_path, "a.csv", data, id_column="id")
    texts = {record.doc_id: record.text for record in found if record.reason is None}
    assert {number: text for number, text in whole.items() if texts.get(number) != text} == {}
    assert sum(record.raw_bytes for record in found) == len(data)


def test_names_of_columns_tell_the_delimiter() -> None:
    assert dialect_of("a;text,b;c\n1;2;3\n", ["c"]) == Dialect(";", "doubled")
    assert dialect_of("a;text,b;c\n1;2,3;3\n", ["text,b"]).delimiter == ";"
    assert dialect_of("text\none, two\n", ["text"]) == Dialect(",", "doubled")


@pytest.mark.parametrize(
    "data", [b"1,The baker shut the door\n2,And went\n", b"It was a dark and stormy night in May,fiction\nx,y\n"]
)
def test_a_file_without_a_header_is_told_so(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.csv has no header: its first line is a record\. Remedy: put a line"):
        check_source(SourceConfig(uri=str(tmp_path / "a.csv")), tmp_path)
