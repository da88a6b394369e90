"""Raw files: their format by name, opening, cutting into parts. Plan's check and Spark's reader both use it."""

import bz2
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal, NamedTuple

import pyarrow as pa
import zstandard

from etl.read.decoding import encoding_of, page_encoding
from handoff.errors import SourceError
from handoff.store import resolve

Format = Literal["txt", "markup", "book", "jsonl", "json", "csv", "parquet", "arrow", "warc", "mbox"]
CODE = (  # read as they stand
    "py pyi js mjs jsx ts tsx java kt scala go rs c h cc cpp cxx hpp cs swift rb php pl lua r jl hs ml sh bash sql tex bib rst "
    "org adoc text log vue css scss asm f90 cu proto"
)
FORMATS: dict[str, Format] = {
    ".txt": "txt",
    ".md": "markup",
    ".markdown": "markup",
    ".html": "markup",
    ".htm": "markup",
    ".xhtml": "markup",
    ".epub": "book",
    ".ipynb": "book",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".warc": "warc",
    ".wet": "warc",
    ".mbox": "mbox",
    **{f".{extension}": "txt" for extension in CODE.split()},
}
COMPRESSIONS = (".gz", ".zst", ".xz", ".bz2")
PACKED_INSIDE = ("parquet", "arrow", "book")  # they are compressed themselves, and are read by seeking
OF_PAGES: tuple[Format, ...] = ("txt", "markup", "book")  # formats whose file is one document
# Hugging Face's `save_to_disk` and `push_to_hub` write these beside the data.
DATASET_FILES = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "dataset_infos.jsonl")

PART_BYTES = 8 << 20  # of a text: a longer one is read, cleaned and cut in parts
MOST_PARTS = 2048  # of a text: their passages' positions then fit into 31 bits
MOST_PAGE_BYTES = 64 << 20  # of a page or a book, whose tree takes ten times as much memory
MOST_RECORD_BYTES = 128 << 20  # of a line of .jsonl; a longer one is counted, not read
WINDOW_BYTES = 64 << 10  # looked at: at the beginning of a file for what it is, behind a part's end for a place to cut
CHUNK_BYTES = 4 << 20
PACKED_BYTES = 16 << 10  # of zstd, unpacked at a time
LONGEST_WINDOW = 1 << 31  # of zstd: what `zstd --long=31` writes

# A line end of these is not the one byte 0x0a: a file in them cannot be cut by its bytes.
UNCUTTABLE = ("utf-16", "utf-32", "utf-7", "iso2022", "hz", "utf_7")


@dataclass(frozen=True)
class SourceFile:
    """One raw file."""

    uri: str  # absolute local path or URI
    name: str  # path below the source's root; a text file's doc_id
    bytes: int


class Part(NamedTuple):
    """A file, or bytes ``start`` to ``end`` of it (row groups of .parquet): what is read at a time."""

    file: SourceFile
    file_number: int = 0  # of the file, among all that are read
    number: int = 0  # of the part within its file
    start: int = 0
    end: int | None = None


def kind_of(name: str) -> tuple[Format | None, str]:
    """Format and compression (an extension, or nothing) that a file's name says, in any case."""
    name = name.lower()
    packed = next((c for c in COMPRESSIONS if name.endswith(c)), "")
    name = name.removesuffix(packed)
    found = FORMATS.get(f".{name.rpartition('.')[2]}") if "." in name else None
    return (None, "") if found in PACKED_INSIDE and packed else (found, packed)


def is_left_out(name: str) -> bool:
    """Whether a path below the root is hidden, or what an engine left there (``_SUCCESS``, ``dataset_info.json``).

    A name such as ``_intro.txt``, with a known extension, is not left out.
    """
    *directories, file = name.split("/")
    if any(d[0] in "._" for d in directories) or file[0] == "." or file in DATASET_FILES:
        return True
    return file[0] == "_" and kind_of(file)[0] is None


@contextlib.contextmanager
def reading(file: SourceFile) -> Iterator[None]:
    """Turn errors of a file into one line that names it.

    Raises:
        SourceError: it is gone, locked, damaged or cut short.
    """
    try:
        yield
    except PermissionError as error:
        raise SourceError(
            f"{file.uri} may not be read ({_reason(error)}). Remedy: give this user the right to"
        ) from None
    except FileNotFoundError:
        raise SourceError(f"{file.uri} is gone. Remedy: put it back, or start a new run over what is there") from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, pa.ArrowException) as error:
        raise SourceError(
            f"{file.uri} cannot be read ({_reason(error)}): it is damaged or cut short. Remedy: fetch it again, or exclude it"
        ) from None


def _reason(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


@contextlib.contextmanager
def opened(part: Part) -> Iterator[IO[bytes]]:
    """The part's bytes from ``start`` on, unpacked; the caller stops at its end."""
    filesystem, path = resolve(part.file.uri)
    compression = kind_of(part.file.name)[1]
    with reading(part.file), filesystem.open_input_file(path) as raw:
        if compression == ".gz":
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked  # type: ignore[misc]
        elif compression == ".zst":
            with io.BufferedReader(_Zstd(raw), CHUNK_BYTES) as unpacked:
                yield unpacked
        elif compression:
            with (lzma.LZMAFile if compression == ".xz" else bz2.BZ2File)(raw) as unpacked:
                yield unpacked  # type: ignore[misc]
        else:
            raw.seek(part.start)
            yield raw


class _Zstd(io.RawIOBase):
    """The frames of a zstd file, one after another. The library's own reader takes a frame that is cut short for its end."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._frame: Any = None  # the one in hand
        self._packed, self._unpacked = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._unpacked:
            packed = self._packed or self._raw.read(PACKED_BYTES)
            if not packed:
                if self._frame is not None:
                    raise EOFError("it ends within a frame")
                return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor(max_window_size=LONGEST_WINDOW).decompressobj()
            self._unpacked, self._packed = memoryview(self._frame.decompress(packed)), b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._unpacked))
        buffer[:size], self._unpacked = self._unpacked[:size], self._unpacked[size:]
        return size


def chunks(stream: IO[bytes], part: Part) -> Iterator[bytes]:
    """The part's bytes, some MB at a time."""
    left = None if part.end is None else part.end - part.start
    while left is None or left > 0:
        data = stream.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
        if not data:
            return
        left = None if left is None else left - len(data)
        yield data


def head_of(file: SourceFile, configured: str) -> tuple[bytes, str]:
    """The first bytes of a file, unpacked and without a byte order mark, and its encoding."""
    with opened(Part(file)) as stream:
        head = stream.read(WINDOW_BYTES)
    encoding, mark = (page_encoding if kind_of(file.name)[0] == "markup" else encoding_of)(head, configured)
    return head[mark:], encoding


def place_to_cut(window: Any) -> int | None:
    """The first place to cut in a window of text or bytes: behind a paragraph, else a line, else a word."""
    for end in ("\n\n", "\n\r\n", "\n", " "):
        wanted = end if isinstance(window, str) else end.encode()
        if (at := window.find(wanted)) >= 0:
            return at + len(end)
    return None


def parts_of(file: SourceFile, index: int, configured: str, part_bytes: int) -> list[Part]:
    """The file in parts of about ``part_bytes`` that end with a line where they can; a compressed file is one part.

    A text has the same parts on every machine: its passages' positions depend on them.
    """
    format_, compression = kind_of(file.name)
    size = PART_BYTES if format_ == "txt" else part_bytes
    if format_ == "parquet":
        return _row_groups(file, index, part_bytes)
    if compression or format_ not in ("txt", "jsonl") or file.bytes <= size + WINDOW_BYTES:
        return [Part(file, index)]
    with opened(Part(file)) as stream:
        encoding = encoding_of(stream.read(WINDOW_BYTES), configured)[0]
        if encoding.startswith(UNCUTTABLE):
            return [Part(file, index)]
        bounds = [0]
        while (least := bounds[-1] + size) < file.bytes - WINDOW_BYTES:
            if (bound := _bound(stream, least, encoding, lines=format_ == "jsonl")) is None:
                break
            bounds.append(bound)
    ends = [*bounds[1:], file.bytes]
    return [Part(file, index, n, *ends_) for n, ends_ in enumerate(zip(bounds, ends, strict=True))]


def _bound(stream: IO[bytes], least: int, encoding: str, *, lines: bool) -> int | None:
    """The first place from ``least`` on at which a file can be cut; None where there is none."""
    stream.seek(least)
    window = stream.read(WINDOW_BYTES)
    if not lines and (at := place_to_cut(window)) is not None:
        return least + at
    if not lines and encoding == "utf-8":  # no blank for 64 KiB: between two characters
        return least + next((i for i in range(4) if window[i] & 0xC0 != 0x80), 0)
    while window:
        if (at := window.find(b"\n")) >= 0:
            return least + at + 1
        least += len(window)
        window = stream.read(CHUNK_BYTES)
    return None


def _row_groups(file: SourceFile, index: int, part_bytes: int) -> list[Part]:
    """A .parquet file by its row groups, several to a part where they are small."""
    import pyarrow.parquet as pq

    if file.bytes <= part_bytes:
        return [Part(file, index)]
    filesystem, path = resolve(file.uri)
    with reading(file), pq.ParquetFile(path, filesystem=filesystem) as parquet:
        sizes = [parquet.metadata.row_group(i).total_byte_size for i in range(parquet.num_row_groups)]
    found: list[Part] = []
    start = size = 0
    for i, group in enumerate(sizes):
        size += group
        if size >= part_bytes or i == len(sizes) - 1:
            found.append(Part(file, index, len(found), start, i + 1))
            start, size = i + 1, 0
    return found or [Part(file, index)]
