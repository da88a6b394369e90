"""The cleaning stage in DuckDB; runs in an environment of its own.

Usage: python duckdb_side.py DOCS OUT CORES. Writes ``id, text`` to OUT/cleaned as Parquet. The steps are those of
etl.transforms.clean in RE2's syntax, with one difference that does not affect the benchmark's documents: Project
Gutenberg's header is sought in the first 1,000 characters, RE2's limit of a repetition, where Baton looks at 40,000.
Neither side repairs mojibake, because SQL cannot.
"""

import sys

import duckdb

STEPS = (
    "nfc_normalize({})",
    r"regexp_replace({}, '\r\n?|[\v\f\x{{85}}\x{{2028}}\x{{2029}}]', chr(10), 'g')",
    r"regexp_replace({}, '\x{{ad}}\n[ \t]*|[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\x{{ad}}\x{{feff}}\x{{200b}}]', '', 'g')",
    "CASE WHEN contains({0}, 'Gutenberg') OR contains({0}, 'GUTENBERG') OR contains({0}, 'SMALL PRINT') THEN "
    r"regexp_replace(regexp_replace({0}, '(?is)\A.{{0,1000}}?(?:\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG"
    r"|\*END[ *]+THE SMALL PRINT)[^\n]*(?:\n|\z)', ''), "
    r"'(?is)(?:\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG|\nEnd of (?:the |this )?Project Gutenberg[''’ ]).*\z', '') "
    "ELSE {0} END",
    r"regexp_replace({}, '[ \t\x{{a0}}]+(\n|\z)', '\1', 'g')",
    r"trim(regexp_replace({}, '\n{{3,}}', chr(10) || chr(10), 'g'), chr(10))",
)


def main(docs: str, out: str, cores: int) -> None:
    connection = duckdb.connect()
    connection.execute(f"SET threads = {cores}")
    query = f"SELECT id, text FROM read_json('{docs}/*.jsonl', columns = {{id: 'VARCHAR', text: 'VARCHAR'}}, format = 'newline_delimited')"
    for step in STEPS:  # one projection per step, so that a text named twice is not computed twice
        query = f"SELECT id, {step.format('text')} AS text FROM ({query})"
    connection.execute(f"COPY ({query}) TO '{out}/cleaned' (FORMAT parquet, COMPRESSION zstd, PER_THREAD_OUTPUT)")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
