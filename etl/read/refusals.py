"""What a file is that is not read, or whose name says something else, and what to do about it."""

from etl.read.files import COMPRESSIONS, FORMATS, PACKED_INSIDE

# What these are, and what to do with them: no small reader gives their text.
ARCHIVES = "an archive. Remedy: unpack it, and give the directory"
REFUSED = {
    **dict.fromkeys((".tar", ".tgz", ".tbz2", ".txz", ".zip", ".7z", ".rar"), ARCHIVES),
    **dict.fromkeys(
        (".pdf", ".doc", ".docx", ".odt", ".rtf", ".ppt", ".pptx", ".xls", ".xlsx", ".djvu", ".mobi", ".azw3"),
        "an office document or a print file. Remedy: convert it to .txt, .html or .csv first",
    ),
    **dict.fromkeys(
        (".xml", ".tei", ".sgml"),
        "XML, whose elements mean what its schema says. Remedy: convert it to .txt, .html or .jsonl first",
    ),
    **dict.fromkeys((".yaml", ".yml", ".toml", ".ini"), "a file of settings. Remedy: exclude it"),
    **dict.fromkeys(
        (
            ".orc",
            ".avro",
            ".db",
            ".sqlite",
            ".duckdb",
            ".h5",
            ".hdf5",
            ".npy",
            ".npz",
            ".pkl",
            ".pickle",
            ".pt",
            ".safetensors",
            ".tfrecord",
        ),
        "binary data. Remedy: write it as .parquet or .jsonl first",
    ),
    **dict.fromkeys(
        (".lz4", ".sz", ".snappy", ".br", ".z", ".lzma"),
        "packed in a way that is not read. Remedy: pack it as .gz, .zst, .xz or .bz2",
    ),
    **dict.fromkeys(
        (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".mp3", ".mp4", ".wav"), "no text. Remedy: exclude it"
    ),
}
# How files begin that are not what their names say.
BEGINNINGS = (
    (
        b"version https://git-lfs.github.com/spec/v1",
        "a pointer of Git LFS, not the file. Remedy: run `git lfs pull` where it lies",
    ),
    (b"\x1f\x8b", "packed by gzip. Remedy: add .gz to its name"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd. Remedy: add .zst to its name"),
    (b"\xfd7zXZ\0", "packed by xz. Remedy: add .xz to its name"),
    (b"BZh", "packed by bzip2. Remedy: add .bz2 to its name"),
    (b"PK\x03\x04", "a zip archive. Remedy: unpack it"),
    (b"%PDF-", "a PDF. Remedy: convert it to text first"),
    (b"PAR1", "a Parquet file. Remedy: name it .parquet"),
    (b"ARROW1", "an Arrow file. Remedy: name it .arrow"),
    (b"SQLite format 3", "a database of SQLite. Remedy: write its rows as .jsonl"),
)


def refusal(name: str) -> str:
    """Why a file of no known format is not read, and what to do about it."""
    name = name.lower()
    packed = next((c for c in COMPRESSIONS if name.endswith(c)), "")
    inner = name.removesuffix(packed)
    if packed and FORMATS.get(f".{inner.rpartition('.')[2]}") in PACKED_INSIDE:
        return f"packed twice. Remedy: unpack it to {inner.rpartition('/')[2]}"
    known = ", ".join(extension for extension, format_ in FORMATS.items() if format_ != "txt" or extension == ".txt")
    why = next((told for extension, told in REFUSED.items() if inner.endswith(extension)), None)
    return why or f"none of {known} or code. Remedy: narrow the glob or exclude the file's name"


def other_than_named(head: bytes) -> str | None:
    """What a file is that its name does not say; the remedy follows."""
    return next((told for beginning, told in BEGINNINGS if head.startswith(beginning)), None)
