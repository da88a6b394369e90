#!/bin/sh
# The Ray provider's wheel in environments of its own, one per cell of Python × Airflow × Ray: its tests, and KILLS random
# kills of attempts on a Ray of the same environment. Prints a line per cell. Environments stay in DIRECTORY for the next run.
#   PYTHONS="python3.11 python3.12" AIRFLOWS="3.3.2 3.3.0" RAYS="2.60.0 2.56.0" KILLS=60 bench/provider_matrix.sh DIRECTORY
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
directory=${1:?name a directory for the environments}
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
cd "$root"
. ./uv-settings.sh
unset UV_CONSTRAINT  # each cell has versions of its own
uv=$root/.venv/bin/uv
rm -rf "$directory/wheel" "$directory/tree"
"$uv" build --wheel --quiet --out-dir "$directory/wheel" ./airflow_ray
rm -rf airflow_ray/build
# The tests and the bench without the project: the provider that they import is the installed wheel.
mkdir -p "$directory/tree/tests"
cp -r tests/airflow_ray "$directory/tree/tests/"
cp -r bench handoff "$directory/tree/"
: >"$directory/tree/pytest.ini"
cd "$directory/tree"

cell() {
    env="$directory/$(basename "$1")-$2-$3"
    if [ ! -f "$env/ready" ]; then
        "$1" -m venv --clear "$env"
        "$uv" pip install --quiet --python "$env/bin/python" "apache-airflow==$2" "ray[default]==$3" \
            pytest pytest-timeout cryptography fsspec pyarrow pydantic
        : >"$env/ready"
    fi
    "$uv" pip install --quiet --no-deps --reinstall --python "$env/bin/python" "$directory"/wheel/*.whl
    home=$(mktemp -d)
    export AIRFLOW_HOME="$home" AIRFLOW__CORE__LOAD_EXAMPLES=False PYTHONPATH="$directory/tree"
    tests=$("$env/bin/python" -m pytest -q --noconftest --import-mode=importlib --ignore tests/airflow_ray/test_documents.py \
        tests/airflow_ray 2>&1 | tee "$env/tests.log" | tail -1) || true
    kills="not run"
    if [ "${KILLS:-60}" -gt 0 ]; then
        port=$("$env/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
        export RAY_AUTH_MODE RAY_AUTH_TOKEN
        "$env/bin/ray" start --head --block --port=0 --num-cpus=2 --dashboard-host=127.0.0.1 --dashboard-port="$port" \
            --temp-dir="$home/ray" >"$env/ray.log" 2>&1 &
        ray=$!
        export AIRFLOW_CONN_RAY_DEFAULT="{\"conn_type\": \"ray\", \"host\": \"127.0.0.1\", \"port\": $port, \"password\": \"$RAY_AUTH_TOKEN\"}"
        i=0
        until curl --silent --fail --header "Authorization: Bearer $RAY_AUTH_TOKEN" "http://127.0.0.1:$port/api/version" >"$env/version.json"; do
            i=$((i + 1))
            [ "$i" -lt 120 ] || break
            sleep 1
        done
        "$env/bin/python" -m bench.operator --runs 0 --kills "${KILLS:-60}" >"$env/kills.log" 2>&1 || true
        kills=$(grep -E "kills of|lost jobs" "$env/kills.log" | tr '\n' ' ')
        kill "$ray"
        wait "$ray" || true
        unset AIRFLOW_CONN_RAY_DEFAULT RAY_AUTH_MODE RAY_AUTH_TOKEN
    fi
    rm -rf "$home"
    echo "$("$env/bin/python" --version), Airflow $2, Ray $3: $tests; ${kills:-see $env/kills.log}"
}

for python in ${PYTHONS:-python3.11 python3.12}; do
    for airflow in ${AIRFLOWS:-3.3.2 3.3.0}; do
        for ray in ${RAYS:-2.60.0 2.56.0}; do
            cell "$python" "$airflow" "$ray"
        done
    done
done
