"""Facts about this machine that can be read without privileges."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

GPU_QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
GPU_QUERY_SECONDS = 20  # a cold driver takes several seconds to answer


def describe_machine() -> dict[str, str]:
    """CPU model, cores, memory, GPUs (where nvidia-smi is there) and operating system, as text."""
    return {
        "Processor": _cpu_model(),
        "Cores": f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}",
        "Memory": _memory(),
        "GPU": ", ".join(gpus()) or "none",
        "System": _system(),
    }


def gpus() -> list[str]:
    """Name, memory and driver of each NVIDIA GPU; the reason if nvidia-smi exists but does not answer."""
    if shutil.which(GPU_QUERY[0]) is None:
        return []
    try:
        answer = subprocess.run(GPU_QUERY, capture_output=True, text=True, timeout=GPU_QUERY_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return [f"nvidia-smi gave no answer ({type(error).__name__})"]
    return [" · ".join(part.strip() for part in line.split(",")) for line in answer.stdout.splitlines() if line.strip()]


def _proc(name: str) -> list[tuple[str, str]]:
    path = Path("/proc") / name
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]


def _cpu_model() -> str:
    names = [value for key, value in _proc("cpuinfo") if key in ("model name", "Model", "Hardware") and value]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()


def _memory() -> str:
    for key, value in _proc("meminfo"):
        if key == "MemTotal":
            return f"{int(value.split()[0]) / 2**20:.1f} GiB"
    return "unknown"


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        name = platform.system()
    return f"{name}, kernel {platform.release()}"
