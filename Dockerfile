# syntax=docker/dockerfile:1
# One file, a target per role: airflow, spark, ray, gpu. Each has only what its role imports.
#
#   docker build --target ray --build-arg BATON_COMMIT=$(git rev-parse HEAD) -t baton-ray .
#
# Behind a private index, a directory of wheels or an own certificate authority (docs/clusters.md has the commands):
#   --secret id=pip_conf,src=pip.conf       read as /etc/pip.conf; in no layer, so it may hold a password
#   --secret id=ca,src=ca-certificates.crt  a whole CA bundle, instead of the base image's
#   --build-arg BASE_IMAGE=registry.example/python:3.11-slim-bookworm
#   --volume /wheels:/wheels:ro             (podman) for `find-links = /wheels` in pip.conf
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
# tini is process 1: it passes SIGTERM on and reaps what Spark's and Ray's workers leave behind.
# No Java: the packaged runtime of the spark extra starts Spark (etl/java.py).
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    # One uid in every image: a file that a Spark executor writes to a shared volume is Airflow's own.
    && useradd --uid 50000 --create-home --shell /usr/sbin/nologin baton \
    # An empty named volume takes over owner and mode of the directory it is mounted on.
    && install -d -o baton -m 755 /data /var/lib/baton /opt/airflow \
    # Ray makes its temporary directory writable for everybody; nobody else gets through this one.
    && install -d -o baton -m 700 /var/lib/ray
WORKDIR /opt/baton
ENV PATH=/opt/baton/.venv/bin:$PATH \
    PYTHONPATH=/opt/baton \
    PYTHONUNBUFFERED=1 \
    BATON_HOME=/var/lib/baton
ENTRYPOINT ["tini", "-g", "--"]

# Packages come before the code: a change of code reinstalls nothing. bootstrap.sh is what `make setup` runs too, and the
# one place that hands pip's settings on to uv.
FROM base AS airflow-packages
COPY pyproject.toml constraints.txt bootstrap.sh uv-settings.sh ./
# spark too: spark-submit runs the driver of `corpus` in Airflow's container. cluster: PostgreSQL and MLflow's S3 client.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    --mount=type=cache,target=/root/.cache BATON_EXTRAS=airflow,spark,cluster ./bootstrap.sh

FROM base AS spark-packages
COPY pyproject.toml constraints.txt bootstrap.sh uv-settings.sh ./
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    --mount=type=cache,target=/root/.cache BATON_EXTRAS=spark ./bootstrap.sh

FROM base AS ray-packages
COPY pyproject.toml constraints.txt bootstrap.sh uv-settings.sh ./
# The backend counts where no setting of pip says where packages come from; else these decide which torch is found.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    --mount=type=cache,target=/root/.cache BATON_TORCH_BACKEND=cpu BATON_EXTRAS=ray ./bootstrap.sh

FROM base AS gpu-packages
COPY pyproject.toml constraints.txt bootstrap.sh uv-settings.sh ./
ARG TORCH_BACKEND=cu130
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    --mount=type=cache,target=/root/.cache BATON_TORCH_BACKEND=${TORCH_BACKEND} BATON_EXTRAS=ray ./bootstrap.sh

# S3 for Spark: the connector of Spark's own Hadoop version, and the committer that needs no renames. Only where asked
# for, as the jars come from Maven Central (or --build-arg MAVEN=<mirror>) and weigh more than Spark itself.
FROM airflow-packages AS airflow-jars
ARG SPARK_S3=0
ARG MAVEN=
COPY deploy/spark_jars.sh deploy/
RUN --mount=type=secret,id=ca,target=/run/secrets/ca [ "$SPARK_S3" = 0 ] || deploy/spark_jars.sh
FROM spark-packages AS spark-jars
ARG SPARK_S3=0
ARG MAVEN=
COPY deploy/spark_jars.sh deploy/
RUN --mount=type=secret,id=ca,target=/run/secrets/ca [ "$SPARK_S3" = 0 ] || deploy/spark_jars.sh

FROM airflow-jars AS airflow
ENV JAVA_HOME=/opt/java
COPY . .
RUN python -m deploy.image /opt/java
ARG BATON_COMMIT=unknown
LABEL org.opencontainers.image.title="Baton: Airflow" \
      org.opencontainers.image.description="Airflow's services, Spark's driver and the MLflow server of Baton" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${BATON_COMMIT}"
ENV BATON_COMMIT=${BATON_COMMIT} AIRFLOW_HOME=/opt/airflow
USER baton
HEALTHCHECK --interval=30s --start-period=90s CMD ["python", "deploy/health.py", "http://localhost:8080/api/v2/monitor/health"]
CMD ["airflow", "api-server"]

FROM spark-jars AS spark
ENV JAVA_HOME=/opt/java PYSPARK_PYTHON=/opt/baton/.venv/bin/python
COPY . .
RUN python -m deploy.image /opt/java
ARG BATON_COMMIT=unknown
LABEL org.opencontainers.image.title="Baton: Spark" \
      org.opencontainers.image.description="Master and workers of a Spark standalone cluster for Baton" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${BATON_COMMIT}"
ENV BATON_COMMIT=${BATON_COMMIT}
USER baton
HEALTHCHECK --interval=30s --start-period=30s CMD ["python", "deploy/health.py", "http://localhost:8081/json/"]
CMD ["spark-class", "org.apache.spark.deploy.worker.Worker", "spark://spark-master:7077"]

FROM ray-packages AS ray
COPY . .
RUN python -m deploy.image
ARG BATON_COMMIT=unknown
LABEL org.opencontainers.image.title="Baton: Ray" \
      org.opencontainers.image.description="Head and workers of a Ray cluster for Baton, on CPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${BATON_COMMIT}"
ENV BATON_COMMIT=${BATON_COMMIT}
USER baton
HEALTHCHECK --interval=30s --start-period=60s CMD ["python", "deploy/health.py", "http://localhost:52365/api/local_raylet_healthz"]
CMD ["python", "-m", "deploy.ray_node", "worker"]

FROM gpu-packages AS gpu
COPY . .
RUN python -m deploy.image
ARG BATON_COMMIT=unknown
LABEL org.opencontainers.image.title="Baton: Ray on GPUs" \
      org.opencontainers.image.description="Workers of a Ray cluster for Baton, with CUDA builds of torch" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${BATON_COMMIT}"
ENV BATON_COMMIT=${BATON_COMMIT}
USER baton
HEALTHCHECK --interval=30s --start-period=60s CMD ["python", "deploy/health.py", "http://localhost:52365/api/local_raylet_healthz"]
CMD ["python", "-m", "deploy.ray_node", "worker"]
