# Baton: `make help` lists the targets. Each sets up what it needs.
.DEFAULT_GOAL := help
PY := .venv/bin/python
.PHONY: golden help setup vllm-env demo up down test test-fast test-faults dag-check dag-graphs bench-etl bench-privacy bench-etl-scale bench-etl-others bench-operator bench-train bench-gpu bench-inference model-families bench-presets compare compare-full compare-tune advise lint format kubernetes-check bench-sizing constraints clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## make .venv and install everything (other targets call it)
	@./bootstrap.sh

vllm-env: setup  ## make .venv-vllm for the inference engine vllm on CPUs (3 GB; part of nothing else)
	@./vllm-env.sh

demo: setup  ## raw Shakespeare to predictions and a report, through the real DAG
	@$(PY) -m orchestration.local demo

up: setup  ## start Airflow (with its UI) and Ray on this machine
	@$(PY) -m orchestration.local up

down:  ## stop what `make up` started
	@if [ -x $(PY) ]; then $(PY) -m orchestration.local down; else echo "nothing is set up"; fi

cluster-up: setup  ## build the images and start the whole cluster in containers (STORAGE=s3 or volume, kept in .env)
	@$(PY) -m deploy.cluster up $(if $(STORAGE),--storage $(STORAGE))

cluster-demo: setup  ## the demo on that cluster, through the UI's API
	@$(PY) -m deploy.cluster demo

cluster-down: setup  ## stop the cluster; its volumes stay
	@$(PY) -m deploy.cluster down

cluster-clean: setup  ## stop the cluster, remove its volumes and .env
	@$(PY) -m deploy.cluster clean

cluster-test: setup  ## all of it unattended on a shared volume; prints SKIPPED without a container engine
	@$(PY) -m deploy.cluster test

test: setup  ## all tests but the long ones, with real runs of the DAGs (21 min on 2 cores)
	@$(PY) -m pytest -m "not faults"

test-faults: setup  ## fault-injection tests with real Airflow, Spark and Ray (about 40 min)
	@$(PY) -m pytest -m faults

bench-operator: setup  ## the operator's overhead over Ray's own client; jobs lost or doubled by random kills
	@$(PY) -m bench.operator

test-fast: setup  ## tests that need neither a JVM nor Ray, for the edit loop
	@$(PY) -m pytest -m "not spark and not ray and not e2e and not server and not faults"

dag-check: setup  ## what is wrong with DAG files, a line each, and how their graphs changed; seconds (DAGS=dags)
	@$(PY) -m orchestration.dag_check $(or $(DAGS),dags)

dag-graphs: setup  ## keep the graphs in dags/graphs as they are now, after an intended change (DAGS=dags)
	@$(PY) -m orchestration.dag_check --accept $(or $(DAGS),dags)

golden: setup  ## keep the rows that a stage makes since the version of its code was raised (tests/golden.json)
	@BATON_GOLDEN=accept $(PY) -m pytest -q tests/test_golden.py

lint: setup  ## formatting, lint rules and types
	@$(PY) -m ruff format --check . && $(PY) -m ruff check . && $(PY) -m mypy

format: setup  ## format the code and apply automatic fixes
	@$(PY) -m ruff format . && $(PY) -m ruff check --fix .

bench-etl: setup  ## near-duplicates beside datatrove, outputs compared; held-out text that stands in train (MB=100 RUNS=3)
	@$(PY) -m bench.etl $(or $(MB),100) $(or $(RUNS),3)
	@$(PY) -m bench.leakage

bench-privacy: setup  ## personal data and secrets beside Presidio and detect-secrets, on labelled texts
	@$(PY) -m bench.privacy

bench-etl-scale: setup  ## the whole corpus stage at 1 GB and 4 GB: time per byte, peak memory
	@$(PY) -m bench.etl_scale

bench-etl-others: setup  ## cleaning beside DuckDB, near-duplicates beside Spark MLlib (RUNS=3)
	@$(PY) -m bench.etl_others $(or $(RUNS),3)

bench-train: setup  ## Ray Train beside torchrun, packing, ZeRO 3, work lost with a killed worker; losses compared (RUNS=3)
	@$(PY) -m bench.train $(or $(RUNS),3)

bench-gpu: setup  ## all that needs a GPU, in 9 minutes: inference, MFU, Hugging Face's Trainer beside; SKIPPED without one
	@$(PY) -m bench.gpu

bench-inference: setup  ## overlap of CPU and device, engines and pool beside plain generate, a million rows (PROMPTS=128 RUNS=3 ROWS=1000000)
	@$(PY) -m bench.streaming
	@$(PY) -m bench.inference $(or $(PROMPTS),128) $(or $(RUNS),3) $(or $(ROWS),1000000)

bench-presets: setup  ## tiny and demo on two corpora that are not Shakespeare: held-out perplexity, base and tuned
	@$(PY) -m bench.presets

compare: setup  ## Spark and Ray side by side: a first look at all stages at 10 MB (about 17 min on 2 quiet cores)
	@$(PY) -m orchestration.compare first $(FIELDS)

compare-full: setup  ## the whole method: four sizes, five processes for each form that matters, defaults beside (3 hours)
	@$(PY) -m orchestration.compare full $(FIELDS)

model-families: setup  ## load, change, export and compare a small model of each family that transformers knows
	@TQDM_DISABLE=1 $(PY) -m bench.model_families

compare-tune: setup  ## are an engine's settings the best ones for a stage (ENGINE=ray STAGE=order MB=100 MINUTES=20)
	@$(PY) -m comparison.tune "$(ENGINE)" "$(STAGE)" --megabytes $(or $(MB),100) --minutes $(or $(MINUTES),20)

advise: setup  ## what was measured of a stage at a size on this machine (SIZE=300MB STAGE=join)
	@$(PY) -m comparison.advise "$(SIZE)" "$(STAGE)"

kubernetes-check: setup  ## deploy/kubernetes against the published schemas of KubeRay and of Airflow's chart, fetched once
	@$(PY) -m deploy.kube_check

bench-sizing: setup  ## the sizing table of docs/clusters.md; its figures come from python -m bench.etl_shuffle
	@$(PY) -m bench.sizing

constraints: setup  ## regenerate constraints.txt for Python 3.11 and 3.12 from pyproject.toml
	@.venv/bin/uv pip compile --quiet --upgrade --universal --no-annotate --no-header --extra all pyproject.toml -o constraints.txt
	@sed -i -E 's/^(torch==[0-9.]+)\+[a-z0-9]+/\1/' constraints.txt

clean:  ## stop the services and remove what runs wrote (./var); keeps .venv
	@if [ -x $(PY) ]; then $(PY) -m orchestration.local down; fi
	rm -rf var
