#!/bin/sh
# Make .venv and install Baton into it; does nothing if that is done. Called by the Makefile.
# PYTHON names the interpreter (3.11 or 3.12). pip's settings (index, find-links, certificate, constraint) are
# passed on to uv, which does not read them.
# BATON_EXTRAS=spark,cluster installs only what these extras need, and neither the project nor its Ray provider: the
# Dockerfile does that.
set -eu
cd "$(dirname "$0")"

stamp=.venv/.installed
# An image's packages are installed before the code is there, the provider's pyproject.toml too.
wanted="$(cat pyproject.toml constraints.txt bootstrap.sh uv-settings.sh $(ls airflow_ray/pyproject.toml 2>/dev/null) | cksum) ${BATON_EXTRAS:-}"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

good() { "$1" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; }
if [ -n "${PYTHON:-}" ]; then
    good "$PYTHON" || { echo "ERROR: PYTHON=$PYTHON is not Python 3.11 or 3.12 with venv" >&2; exit 2; }
else
    for PYTHON in python3.11 python3.12 python3 ""; do
        if [ -n "$PYTHON" ] && good "$PYTHON"; then break; fi
    done
    [ -n "$PYTHON" ] || {
        echo "ERROR: no Python 3.11 or 3.12 with venv found. Remedy: install python3.11 and python3.11-venv, or set PYTHON" >&2
        exit 2
    }
fi

echo "Setting up .venv with $("$PYTHON" --version) (about a minute, once) ..."
start=$(date +%s)
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
[ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv

. ./uv-settings.sh

if [ -n "${BATON_EXTRAS:-}" ]; then
    # setuptools: the project itself is installed later, without a network.
    set -- -r pyproject.toml 'setuptools>=77' $(printf ' --extra %s' $(echo "$BATON_EXTRAS" | tr , ' '))
else
    set -- -e '.[all]' -e ./airflow_ray
fi
# Compile bytecode once, here. A run starts some forty Python processes. Without bytecode each of them compiles what
# it imports, and in every run where bytecode is not written (PYTHONDONTWRITEBYTECODE).
.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python "$@" -c constraints.txt
echo "$wanted" >"$stamp"
echo "Set up in $(($(date +%s) - start)) s"
