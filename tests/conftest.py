"""Fixtures shared by all tests: one Spark session, one Ray, one tiny model, made when first asked for."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handoff.artifact import Artifact
from handoff.store import Store
from tests.support import VERSES, publish_corpus

os.environ.update(
    {
        # Airflow writes to its home when it is imported: not into the user's.
        "AIRFLOW_HOME": tempfile.mkdtemp(prefix="baton-test-airflow-"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "BATON_ALLOWED_ROOTS": "/",  # as on a laptop; what it refuses is tested where it is set to something else
        "DS_ACCELERATOR": "cpu",
        "HF_HUB_OFFLINE": "1",
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for an engine's fixture carries that engine's marker: no one has to remember it."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if "spark" in names:
            item.add_marker(pytest.mark.spark)
        if "ray_cluster" in names:
            item.add_marker(pytest.mark.ray)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "artifacts"))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real Spark on two cores."""
    from pyspark.sql import SparkSession

    from etl.java import find_java_home
    from etl.spark_conf import SQL_CONF

    scratch = tmp_path_factory.mktemp("spark")
    os.environ["JAVA_HOME"] = find_java_home(scratch)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.driver.memory", "1g")
        # Tests run each plan once: without HotSpot's second compiler they take a third less CPU time.
        .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.warehouse.dir", str(scratch / "warehouse"))
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    for key, value in SQL_CONF.items():
        session.conf.set(key, value)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a bucket at an S3 server on loopback (moto), for this process and those that it starts from here on.

    ``AWS_ENDPOINT_URL`` tells pyarrow where the server is. What is downloaded from it goes to a BATON_HOME of its own.
    """
    import pyarrow.fs as pafs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("BATON_HOME", str(tmp_path_factory.mktemp("home")))
        pafs.S3FileSystem(endpoint_override=f"{host}:{port}", scheme="http", allow_bucket_creation=True).create_dir(
            "bucket"
        )
        yield "s3://bucket"
    server.stop()


@pytest.fixture(scope="session")
def ray_cluster(object_store: str) -> Iterator[None]:
    """A real Ray of this process alone, on two cores; four CPUs of slots so that tests need not wait for each other.

    Its workers know the object store, which is there before them.
    """
    import ray

    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=300 << 20,
        logging_level="ERROR",
        log_to_driver=True,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face directory: a two-layer Llama with random weights and a byte-level BPE tokenizer of 384 tokens."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    directory = tmp_path_factory.mktemp("tiny-model")
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(VERSES * 4, vocab_size=384, special_tokens=["<|endoftext|>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    tokenizer.save_pretrained(directory)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=384,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            attention_dropout=0.1,  # while it trains: a resume without the random state would show
            bos_token_id=0,
            eos_token_id=0,
        )
    ).save_pretrained(directory)
    return directory


@pytest.fixture
def tiny_corpus(store: Store, tmp_path: Path) -> Artifact:
    """A published corpus of 64 train, 8 validation and 8 test passages, in two files a split."""
    return publish_corpus(store, tmp_path / "verses.txt", {"train": 64, "validation": 8, "test": 8}, files=2)
