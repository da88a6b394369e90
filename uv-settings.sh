# Sourced by bootstrap.sh and vllm-env.sh: pip's settings as uv's environment variables. The environment (:env:)
# wins over [install], and that over [global].
eval "$(.venv/bin/python - <<'PY'
import ast, os, shlex, subprocess, sys
out = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
found = {}
for section in ("global.", "install.", ":env:."):
    for line in out.splitlines():
        name, _, value = line.partition("=")
        if name.startswith(section):
            found[name[len(section):]] = ast.literal_eval(value)
names = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "cert": "SSL_CERT_FILE",
         "find-links": "UV_FIND_LINKS", "constraint": "UV_CONSTRAINT", "no-index": "UV_NO_INDEX"}
settings = {u: " ".join(found[p].split()) for p, u in names.items() if p in found and u not in os.environ}
if "UV_FIND_LINKS" in settings:
    settings["UV_FIND_LINKS"] = settings["UV_FIND_LINKS"].replace(" ", ",")
settings.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # as pip: the best version over all indexes
if not found.keys() & {"index-url", "extra-index-url", "find-links", "no-index"}:
    # No setting says where torch comes from: let uv choose the CPU or CUDA build for this machine. An image is built
    # on one machine and runs on another: the Dockerfile says which (BATON_TORCH_BACKEND).
    settings.setdefault("UV_TORCH_BACKEND", os.environ.get("UV_TORCH_BACKEND") or os.environ.get("BATON_TORCH_BACKEND", "auto"))
print("\n".join(f"export {k}={shlex.quote(v)}" for k, v in settings.items()))
PY
)"
