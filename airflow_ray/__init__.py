"""A Ray provider for Airflow 3: a connection type, a hook, and an operator that never loses or doubles a job."""
