"""The contract between the engines: what Spark publishes, Ray opens, and anyone can verify."""
