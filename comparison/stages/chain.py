"""The whole chain by three architectures: is it Spark alone, Ray alone, or a relay of both?"""

from comparison.chain import completer, ray_alone, relay, spark_alone
from comparison.form import Form, Stage

STAGE = Stage(
    name="chain",
    title="The whole chain",
    question="Raw documents to ordered rows, a tuned model and its completions: one engine, the other, or one after the other?",
    forms=(
        Form("spark", "alone", spark_alone.run, shuffles=2, loads_model=True),
        Form("ray", "alone", ray_alone.run, shuffles=2, python_rows=True, loads_model=True),
        Form("relay", "hand-off", relay.run, shuffles=2, loads_model=True),
    ),
    compared="close",
    tolerance=1e-5,
)
