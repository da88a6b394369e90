"""Ports for what this machine starts itself."""

import socket


def any_free_port(host: str = "127.0.0.1") -> int:
    """A port on which nothing listens now.

    Args:
        host: address to listen on; empty for all of them.
    """
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
