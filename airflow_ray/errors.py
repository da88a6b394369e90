"""What can go wrong between Airflow and a Ray cluster."""


class RayUnreachable(ConnectionError):
    """No answer from the cluster, or none that a client can use. The job may go on; a retry finds it again."""


class RayJobLost(RuntimeError):
    """The cluster does not know the job any more: its head was replaced. A retry submits it anew."""


class RayRefused(ValueError):
    """The cluster does not accept the token. A retry cannot help."""
