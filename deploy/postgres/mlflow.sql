-- Run once, when the volume is empty: MLflow's tables stay apart from Airflow's.
CREATE DATABASE mlflow;
