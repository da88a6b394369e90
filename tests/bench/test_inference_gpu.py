"""The GPU benchmark's inference part, as far as a CPU can run it, where neither pydantic nor Ray is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from handoff.home import PROJECT

SCRIPT = """
import sys
for name in ("pydantic", "pyarrow", "ray", "mlflow", "deepspeed"):
    sys.modules[name] = None
from pathlib import Path
from bench import inference_gpu
inference_gpu.PROMPTS, inference_gpu.PLAIN_PROMPTS, inference_gpu.COMPARED, inference_gpu.LONGEST = 24, 16, 4, 32
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 512}
side = inference_gpu.Side(Path(sys.argv[1]), sizes, use_gpu=False)
inference_gpu.measure("tiny", side, "NVIDIA H100 80GB HBM3", lambda: 1.0)
"""


@pytest.mark.faults  # it imports torch and transformers in a process of its own
def test_every_figure_is_printed_and_the_engine_gives_the_answers_of_generate(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "model")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "tiny: 4 of 4 greedy answers in fp32 equal to those of generate"
    figures = ("transformers engine: ", "share of the memory", "generate, batches of 8: ", "engine / generate: ")
    assert all(any(line.strip().startswith(figure) for line in lines) for figure in figures), done.stdout
