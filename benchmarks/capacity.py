"""What the endpoint can do when nobody but a discarding reader asks: the check before every run.

Run as `python -m benchmarks.capacity KIND PORT PATH` it is one such reader or writer.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.address import EMULATOR_ACCOUNT
from benchmarks.endpoint import Endpoint
from benchmarks.peers.peer import Direction, processors
from benchmarks.sink import Sink
from benchmarks.tools import Tools
from benchmarks.workloads import GIB, KIB, MIB

WANTED_BYTES_PER_SECOND = 2e9
WANTED_REQUESTS_PER_SECOND = 5000

_REPOSITORY = Path(__file__).resolve().parent.parent
# Above this share of what the endpoint can do, a figure says something about the endpoint.
_LARGEST_SHARE = 0.8

_LARGE = 256 * MIB
_SMALL = 4 * KIB
_SECONDS = 0.7
# On a machine where others are busy too, the best of a few moments is nearest to the truth.
_MOMENTS = 3
_CONNECTIONS = 16
_BLOCK = 8 * MIB


@dataclass(frozen=True, slots=True)
class Capacity:
    """The most that was seen through this endpoint on this machine."""

    download_bytes_per_second: float
    upload_bytes_per_second: float
    requests_per_second: float

    def limit(self, direction: Direction) -> float:
        """Bytes per second in one direction."""
        if direction is Direction.DOWNLOAD:
            return self.download_bytes_per_second
        return self.upload_bytes_per_second

    @property
    def enough(self) -> bool:
        return (
            self.download_bytes_per_second >= WANTED_BYTES_PER_SECOND
            and self.requests_per_second >= WANTED_REQUESTS_PER_SECOND
        )


BOUNDLESS = Capacity(math.inf, math.inf, math.inf)


class Gauge:
    """The best that was seen so far, and the right to look again."""

    def __init__(self, tools: Tools, work: Path, fast: Path, best: Capacity) -> None:
        self._tools, self._work, self._fast = tools, work, fast
        self.best = best

    def objections(
        self, direction: Direction, bytes_per_second: float, requests_per_second: float
    ) -> list[str]:
        """Why a run this fast says something about the endpoint; asked again before saying so.

        A machine that was busy when the endpoint was measured would else condemn good runs.
        """
        if self._object(direction, bytes_per_second, requests_per_second):
            again = measure_capacity(self._tools, self._work, self._fast)
            self.best = _better(self.best, again)
        return self._object(direction, bytes_per_second, requests_per_second)

    def _object(
        self, direction: Direction, bytes_per_second: float, requests_per_second: float
    ) -> list[str]:
        found = []
        if bytes_per_second > _LARGEST_SHARE * self.best.limit(direction):
            found.append("the endpoint was the bottleneck: bytes")
        if requests_per_second > _LARGEST_SHARE * self.best.requests_per_second:
            found.append("the endpoint was the bottleneck: requests")
        return found


def _better(one: Capacity, other: Capacity) -> Capacity:
    return Capacity(
        max(one.download_bytes_per_second, other.download_bytes_per_second),
        max(one.upload_bytes_per_second, other.upload_bytes_per_second),
        max(one.requests_per_second, other.requests_per_second),
    )


def measure_capacity(tools: Tools, work: Path, fast: Path) -> Capacity:
    """Ask the endpoint for as much as it gives, in each way for a moment."""
    probe, sink = Sink(work / "probe"), Sink(fast / "probe")
    (probe.blobs / "data").mkdir(parents=True, exist_ok=True)
    (probe.blobs / "data/small").write_bytes(bytes(_SMALL))
    with (probe.blobs / "data/large").open("wb") as file:
        for _ in range(_LARGE // MIB):
            file.write(bytes(MIB))
    with Endpoint(tools, probe, work / "run", frozen=True) as endpoint:
        rates = [_ask(endpoint, "requests", "small"), _ask(endpoint, "bytes", "large")]
    with Endpoint(tools, sink, work / "run", frozen=False) as endpoint:
        rates.append(_ask(endpoint, "blocks", "sent"))
    for folder in (probe.folder, sink.folder):
        shutil.rmtree(folder)
    return Capacity(
        requests_per_second=rates[0],
        download_bytes_per_second=rates[1],
        upload_bytes_per_second=rates[2],
    )


def _ask(endpoint: Endpoint, kind: str, blob: str) -> float:
    """The best of a few moments."""
    return max(_ask_once(endpoint, kind, blob) for _ in range(_MOMENTS))


def _ask_once(endpoint: Endpoint, kind: str, blob: str) -> float:
    """The sum over one asking process per processor."""
    path = f"/{EMULATOR_ACCOUNT}/{endpoint.address.container}/{blob}"
    asking = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.capacity", kind, str(endpoint.address.port), path],
            cwd=_REPOSITORY,
            stdout=subprocess.PIPE,
        )
        for _ in range(processors())
    ]
    return float(sum(json.loads(process.communicate(timeout=60)[0]) for process in asking))


def _count_requests(port: int, path: str) -> float:
    """Small blobs per second over many connections, their bytes thrown away by the kernel."""
    request = f"GET {path} HTTP/1.1\r\nHost: endpoint\r\n\r\n".encode()
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(_CONNECTIONS)]
    sockets[0].sendall(request)
    size = 0
    while size < _SMALL:
        size += len(sockets[0].recv(1 << 16))
    done, started = 0, time.monotonic()
    while time.monotonic() - started < _SECONDS:
        for one in sockets:
            one.sendall(request)
        for one in sockets:
            _discard(one, size)
        done += len(sockets)
    rate = done / (time.monotonic() - started)
    for one in sockets:
        one.close()
    return rate


def _count_bytes(port: int, path: str) -> float:
    """Bytes per second of one large blob, thrown away by the kernel."""
    request = f"GET {path} HTTP/1.1\r\nHost: endpoint\r\n\r\n".encode()
    done, started = 0, time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as one:
        while (passed := time.monotonic() - started) < _SECONDS:
            one.sendall(request)
            beginning = b""
            while b"\r\n\r\n" not in beginning:
                beginning += one.recv(1 << 12)
            _discard(one, beginning.index(b"\r\n\r\n") + 4 + _LARGE - len(beginning))
            done += _LARGE
    return done / passed


def _discard(one: socket.socket, size: int) -> None:
    buffer = bytearray(MIB)
    while size > 0:
        size -= one.recv_into(buffer, min(size, MIB), socket.MSG_TRUNC)


def _count_blocks(port: int, path: str) -> float:
    """Bytes per second of blocks sent; the same few blocks again and again, to spare memory."""
    body = bytes(_BLOCK)
    done, started = 0, time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (passed := time.monotonic() - started) < _SECONDS:
            block = f"{os.getpid()}-{done // _BLOCK % 8}"
            one.sendall(
                f"PUT {path}?comp=block&blockid={block} HTTP/1.1\r\nHost: endpoint\r\n"
                f"Content-Length: {_BLOCK}\r\n\r\n".encode()
            )
            one.sendall(body)
            if not one.recv(1 << 16).startswith(b"HTTP/1.1 20"):
                raise SystemExit("the endpoint refused a block")
            done += _BLOCK
    return done / passed


def describe(capacity: Capacity) -> str:
    """One line for the person who waits."""
    verdict = "enough" if capacity.enough else "TOO SLOW: figures near these limits are rejected"
    return (
        f"endpoint alone: {capacity.download_bytes_per_second / GIB:.2f} GiB/s out, "
        f"{capacity.upload_bytes_per_second / GIB:.2f} GiB/s in, "
        f"{capacity.requests_per_second:,.0f} requests/s ({verdict})"
    )


if __name__ == "__main__":
    counts = {"requests": _count_requests, "bytes": _count_bytes, "blocks": _count_blocks}
    print(json.dumps(counts[sys.argv[1]](int(sys.argv[2]), sys.argv[3])))
