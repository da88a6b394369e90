#!/bin/sh
# Build wheel and source distribution into airflow_ray/dist, install the wheel into an empty environment with Airflow and Ray
# alone, and run the README's first DAG there, in a folder outside the tree, on a Ray of its own. PYTHON names the interpreter,
# CONSTRAINTS a constraints file, VERSIONS what to install beside the wheel ("apache-airflow==3.3.2 ray[default]==2.60.0").
set -eu
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3}
here=$(pwd) work=$(mktemp -d)
trap 'trap - EXIT; [ -z "${ray_pid:-}" ] || kill "$ray_pid"; wait; rm -rf "$work"' EXIT

# From here on outside: a module of this folder must not stand before one of the standard library (operator.py).
rm -rf dist build
cd "$work"
"$PYTHON" -m venv "$work/build"
"$work/build/bin/python" -m pip install --quiet --disable-pip-version-check build uv
"$work/build/bin/python" -m build --quiet --outdir "$here/dist" "$here"
rm -rf "$here/build"
ls -l "$here/dist"

# Also from the source distribution: its wheel must hold the same files.
"$work/build/bin/python" -m pip wheel --quiet --no-deps --wheel-dir "$work/again" "$here"/dist/*.tar.gz
"$PYTHON" - "$here"/dist/*.whl "$work"/again/*.whl <<'PY'
import sys, zipfile
one, two = ({n: zipfile.ZipFile(w).read(n) for n in zipfile.ZipFile(w).namelist() if ".dist-info" not in n} for w in sys.argv[1:])
assert one == two, sorted(one.keys() ^ two.keys())
PY

"$PYTHON" -m venv "$work/env"
# shellcheck disable=SC2086
"$work/build/bin/uv" pip install --quiet --python "$work/env/bin/python" ${CONSTRAINTS:+-c "$CONSTRAINTS"} ${VERSIONS:-} "$here"/dist/*.whl
"$work/build/bin/uv" pip check --python "$work/env/bin/python"

mkdir "$work/home" "$work/home/dags"
cd "$work/home"
export AIRFLOW_HOME="$work/home" AIRFLOW__CORE__LOAD_EXAMPLES=False PATH="$work/env/bin:$PATH"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN="$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')"
airflow db migrate >migrate.log 2>&1
airflow providers list | grep airflow-ray-provider
# The README's DAG as it stands there.
sed -n '/^In `dags\/ray_first.py`/,/^    airflow dags test/p' "$here/README.md" | sed -n '/^```python/,/^```/p' | sed '/^```/d' >dags/ray_first.py
port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
ray start --head --block --port=0 --num-cpus=2 --dashboard-host=127.0.0.1 --dashboard-port="$port" --temp-dir="$work/ray" >ray.log 2>&1 &
ray_pid=$!
export AIRFLOW_CONN_RAY_DEFAULT="{\"conn_type\": \"ray\", \"host\": \"127.0.0.1\", \"port\": $port, \"password\": \"$RAY_AUTH_TOKEN\"}"
i=0
until python -c "from airflow_ray.hook import RayHook; print(RayHook().get_conn().describe())" 2>/dev/null; do
    i=$((i + 1))
    [ "$i" -lt 60 ] || { cat ray.log >&2; exit 1; }
    sleep 1
done
airflow dags test ray_first >dag.log 2>&1 || { cat dag.log >&2; exit 1; }
grep -E "node:|state=success" dag.log
