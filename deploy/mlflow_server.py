"""``python -m deploy.mlflow_server``: the MLflow server of a cluster. The address of its database, with the password in
it, comes from the environment and stands on no command line.
"""

import os

HOSTS = "mlflow,mlflow:5000,localhost,localhost:5000,127.0.0.1:5000"  # which Host headers it answers


def main() -> None:
    command = ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1", "--allowed-hosts", HOSTS]
    command += ["--serve-artifacts", "--artifacts-destination", os.environ["MLFLOW_ARTIFACTS_DESTINATION"]]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
