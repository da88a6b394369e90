"""RayHook: the connection type ``ray``."""

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_ray.cluster import Cluster

if TYPE_CHECKING:
    from airflow_ray.client import RayClient


class RayHook(BaseHook):
    """Talks to the cluster that a connection describes.

    Args:
        conn_id: of a connection of type ``ray``.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "ray_default"
    conn_type = "ray"
    hook_name = "Ray"

    def __init__(self, conn_id: str = default_conn_name, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.conn_id = conn_id

    @property
    def cluster(self) -> Cluster:
        """
        Raises:
            ValueError: the connection is incomplete or unsafe.
        """
        return Cluster.from_connection(self.get_connection(self.conn_id))

    def get_conn(self) -> "RayClient":
        """
        Raises:
            ValueError: the connection is incomplete or unsafe.
            RayUnreachable: no Ray answers there.
            RayRefused: it refuses the token.
        """
        return self.cluster.client()

    def test_connection(self) -> tuple[bool, str]:
        """What the Test button shows."""
        try:
            return True, self.get_conn().describe()
        except Exception as error:  # the button shows whatever is wrong
            return False, str(error)
