"""``python -m tests.comparison.chain_run ENGINE TABLES OUTPUT SCRATCH OPTIONS``: one run of the chain in a fresh process."""

import json
import sys
from pathlib import Path

from comparison.chain.clock import Clock
from comparison.chain.relay import started
from comparison.form import Work
from comparison.registry import stage

if __name__ == "__main__":
    engine, tables, output, scratch, options = sys.argv[1:]
    form = next(form for form in stage("chain").forms if form.engine == engine)
    work = Work(Path(tables), Path(output), Path(scratch), 1, 2, 1 << 30, options=json.loads(options))
    with started(form.engine, work, Clock()) as spark:
        figures = form.run(Work(**{**vars(work), "spark": spark}))
    Path(scratch, "figures.json").write_text(json.dumps(figures))
