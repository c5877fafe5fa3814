"""Ports for listeners that start later, in other processes."""

import random
import socket

FIRST, LAST = 20_000, 32_000
"""Below what systems hand out to outgoing connections (Linux from 32 768, others from 49 152): a port that is free now stays
free until its node listens, however many connections are made meanwhile."""


def free_ports(count: int) -> list[int]:
    """So many different ports of loopback that nobody listens on. Raises `OSError` when there are too few."""
    found: list[int] = []
    for port in random.sample(range(FIRST, LAST), LAST - FIRST):
        if len(found) == count:
            return found
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    raise OSError(f"only {len(found)} free ports between {FIRST} and {LAST}")
