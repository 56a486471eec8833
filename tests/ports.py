"""Ports for servers that cannot be told to take any."""

import random
import socket
from contextlib import suppress

#: Below what the kernel gives to whoever asks for any port, or connects: 32768 and up, unless it was told otherwise
#: (ip(7), ip_local_port_range). Nobody gets one of these by chance between our look and the server's start.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """One on which nobody listens now."""
    for port in random.sample(PORTS, 50):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
