"""A simulated round trip: in the kernel where it can delay packets, else in the web server.

The kernel's way (`netem` on the loopback of a network namespace of our own) delays every packet, so
handshakes, windows and slow start are felt. Kernels without `netem` get the second way: the web
server sleeps for one round trip before it answers, and for a second one on the first request of a
connection, which stands for the handshake. That way costs the machine nothing and leaves the
bandwidth alone, so it flatters clients that open few connections.
"""

from __future__ import annotations

import contextlib
import enum
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


class Means(enum.Enum):
    """Who holds the bytes back."""

    KERNEL = "kernel"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Delay:
    """A round trip, and the words that put a command where it is felt."""

    milliseconds: int = 0
    means: Means = Means.SERVER
    prefix: Sequence[str] = ()

    def render(self) -> str:
        """Directives that set `$wait`, if the web server is the one who waits."""
        if not self.in_server:
            return ""
        one, two = self.milliseconds / 1000, 2 * self.milliseconds / 1000
        return f"map $connection_requests $wait {{ 1 {two}; default {one}; }}"

    def render_sleep(self) -> str:
        """The directive that waits."""
        return "echo_sleep $wait;" if self.in_server else ""

    @property
    def in_server(self) -> bool:
        return self.means is Means.SERVER and self.milliseconds > 0


def find_means() -> Means:
    """The kernel, if it knows `netem` and lets us use it."""
    script = "ip link set lo up && tc qdisc add dev lo root netem delay 1ms"
    try:
        tried = subprocess.run(
            ["unshare", "--net", "sh", "-c", script], capture_output=True, check=False, timeout=20
        )
    except FileNotFoundError:
        return Means.SERVER
    return Means.KERNEL if tried.returncode == 0 else Means.SERVER


@contextlib.contextmanager
def delayed(milliseconds: int, means: Means) -> Iterator[Delay]:
    """A delay for as long as the block lasts; a namespace made for it is gone afterwards."""
    if means is Means.SERVER or milliseconds == 0:
        yield Delay(milliseconds, Means.SERVER)
        return
    name = f"benchmark-{os.getpid()}"
    inside = ("ip", "netns", "exec", name)
    _run("ip", "netns", "add", name)
    try:
        _run(*inside, "ip", "link", "set", "lo", "up")
        # A packet crosses the loopback once in each direction.
        half = f"{milliseconds / 2}ms"
        _run(*inside, *f"tc qdisc add dev lo root netem delay {half} limit 1000000".split())
        yield Delay(milliseconds, means, inside)
    finally:
        _run("ip", "netns", "delete", name)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=20)
