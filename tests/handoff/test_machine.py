"""The machine: told in words, with GPUs where their tool is there, and never a reason to fail."""

from pathlib import Path

import pytest

from handoff.machine import describe_machine, gpus


def place_nvidia_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_tells_of_this_machine() -> None:
    machine = describe_machine()
    assert "GiB" in machine["Memory"]
    assert int(machine["Cores"].split()[0]) >= 1
    assert machine["Processor"] and machine["System"]


def test_lists_every_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = "NVIDIA H100 80GB HBM3, 81559 MiB, 570.86.15"
    place_nvidia_smi(tmp_path, f"echo '{row}'; echo '{row}'", monkeypatch)
    assert gpus() == ["NVIDIA H100 80GB HBM3 · 81559 MiB · 570.86.15"] * 2


def test_a_driver_that_fails_is_told_not_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_nvidia_smi(tmp_path, "exit 9", monkeypatch)
    assert gpus() == ["nvidia-smi gave no answer (CalledProcessError)"]
