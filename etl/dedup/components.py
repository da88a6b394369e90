"""Connected components of a graph of links: on the driver if links are few, else in a bounded number of rounds."""

from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

MOST_ON_DRIVER = (
    500_000  # links: two or three seconds on the driver; a round of Spark takes half a second even without links
)
MAX_ROUNDS = 40  # ample: the algorithm needs a logarithmic number; the tests' chain of 40 nodes stays below


def components(links: DataFrame) -> DataFrame:
    """The smallest member of each component: ``first long, second long`` → ``node long, root long``.

    Few links go through union-find on the driver. More of them go through large-star and small-star in turns (Kiveris,
    Lattanzi, Mirrokni, Rastogi, Vassilvitskii 2014, "Connected Components in MapReduce and Beyond"): no node's
    neighbours are ever collected into one value, and a star of a million leaves does not grow. The lineage is cut after
    each round. Roots are not listed as nodes.

    Raises:
        RuntimeError: the rounds ran out.
    """
    stars = (
        links.where("first <> second")
        .select(F.greatest("first", "second").alias("node"), F.least("first", "second").alias("root"))
        .localCheckpoint()
    )
    count = stars.count()
    if not count:
        return stars
    if count <= MOST_ON_DRIVER:
        return stars.sparkSession.createDataFrame(union_find(stars.toArrow()))
    links, stars = stars, stars.distinct().localCheckpoint()
    links.unpersist()
    before = _fingerprint(stars)
    for _ in range(MAX_ROUNDS):
        following = _small_star(_large_star(stars)).localCheckpoint()
        after = _fingerprint(following)
        stars.unpersist()
        stars = following
        if after == before:
            return stars
        before = after
    raise RuntimeError(f"connected components did not settle in {MAX_ROUNDS} rounds")


def union_find(links: pa.Table) -> pa.Table:
    """Components of ``node, root`` by union-find (Tarjan 1975); the smaller of two roots stays a root."""
    root_of: dict[int, int] = {}

    def find(node: int) -> int:
        while (above := root_of.setdefault(node, node)) != node:
            root_of[node] = node = root_of[above]  # path halving
        return node

    for node, other in zip(*(column.to_pylist() for column in links.columns), strict=True):
        one, two = find(node), find(other)
        root_of[max(one, two)] = min(one, two)
    nodes = [node for node in root_of if find(node) != node]
    return pa.table({"node": pa.array(nodes, pa.int64()), "root": pa.array(map(find, nodes), pa.int64())})


def _large_star(stars: DataFrame) -> DataFrame:
    """Each node links its larger neighbours to the least of its neighbours and itself."""
    both = stars.select("node", "root").union(stars.select("root", "node"))
    least = F.least("node", F.min("root").over(Window.partitionBy("node")))
    return both.withColumn("least", least).where("root > node").select(F.col("root").alias("node"), "least")


def _small_star(stars: DataFrame) -> DataFrame:
    """Each node links its smaller neighbours and itself to the least of them."""
    seen = stars.withColumn("least_of_all", F.min("least").over(Window.partitionBy("node")))
    pairs = F.array(
        F.struct("node", F.col("least_of_all").alias("root")),
        F.struct(F.col("least").alias("node"), F.col("least_of_all").alias("root")),
    )
    return seen.select(F.inline(pairs)).where("node <> root").distinct()


def _fingerprint(stars: DataFrame) -> tuple[Any, ...]:
    return tuple(stars.agg(F.count("*"), F.bit_xor(F.xxhash64("node", "root"))).collect()[0])
