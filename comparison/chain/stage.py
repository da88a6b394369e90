"""The whole chain by three architectures: is it Spark alone, Ray alone, or a relay of both?

Documents are cleaned, filtered, de-duplicated and put in one global order; two workers tune the model on the blocks of
the first rows; the tuned model completes the openings of the first rows. The text grows with the size, training and
prompts do not. A relay has both sessions' starts within its run (``start_seconds``), so it has a cold time alone; what
the hand-off costs is ``handoff_seconds``.
"""

from comparison.chain import ray_alone, relay, spark_alone
from comparison.chain.worker import ReadByRank
from comparison.form import Form, Stage
from comparison.stages import clean, deduplicate, order

SPARK_ETL = (spark_alone.etl, clean.cleaned_in_sql)
RAY_ETL = (ray_alone.etl, ray_alone.corpus_rows, clean.clean_batch, deduplicate.first_of_each, order.keys_of)
SPARK_MODEL = (spark_alone.train, spark_alone.train_in_task, ReadByRank, spark_alone.predict)
RAY_MODEL = (ray_alone.train, ray_alone.train_in_worker, ray_alone.predict)
HANDOFF = (relay.publish, relay.started, relay.end_jvm)

STAGE = Stage(
    name="chain",
    title="The whole chain",
    question="Documents to ordered rows, to a tuned model, to completions: one engine, the other, or one after the other?",
    forms=(
        Form("spark", "alone", spark_alone.run, sources=SPARK_ETL + SPARK_MODEL),
        Form("ray", "alone", ray_alone.run, sources=RAY_ETL + RAY_MODEL),
        Form("relay", "hand-off", relay.run, sources=SPARK_ETL + HANDOFF + RAY_MODEL, cold_only=True),
    ),
    compared="close",
    tolerance=1e-5,
)
