"""A worker is killed while the kernel holds whoever tells it what to forget."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mount.fuse.connection import Connection
from mount.host.folder import HostFolder
from mount.host.host import Host
from mount.host.start import repair_hosts
from tests.mount.agent.cloud import Cloud
from tests.mount.host.bench import Bench, is_mounted, until
from tests.transfer.forked_store import children


@pytest.fixture
def host(cloud_bench: Bench, cloud: Cloud) -> Iterator[Host]:
    """A mount that knows the file `a`; nobody is left waiting in it."""
    with cloud.store() as store:
        store.write("a", b"alpha")
        store.write("b", b"beta")
    made = cloud_bench.start("hosts/one")
    connection = Connection.of(str(cloud_bench.at))
    assert connection
    assert (cloud_bench.at / "a").read_bytes() == b"alpha"
    try:
        yield made
    finally:
        connection.abort()
        connection.close()


@contextmanager
def held(bench: Bench, cloud: Cloud, host: Host) -> Iterator[subprocess.Popen[bytes]]:
    """A caller who waits for the store with the folder's lock, and a notice that waits for him."""
    cloud.gate.close()
    with subprocess.Popen(
        ["cat", bench.at / "b"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as caller:
        try:
            assert cloud.gate.reached.wait(30)
            host.refresh()
            worker = host.status().worker
            until(lambda: _is_held(worker))
            yield caller
        finally:
            cloud.gate.open()
            connection = Connection.of(str(bench.at))
            if caller.poll() is None and connection:
                connection.abort()


def test_a_held_notice_does_not_hold_up_a_successor(
    cloud_bench: Bench, cloud: Cloud, host: Host
) -> None:
    """A worker killed while its notice is held by a reader is replaced, and the reader is served."""
    with held(cloud_bench, cloud, host) as caller:
        dead = host.status().worker
        os.kill(dead, signal.SIGKILL)
        cloud.gate.open()

        assert caller.communicate(timeout=30) == (b"beta", b"")
    assert (host.status().worker != dead, host.status().restarts) == (True, 1)
    host.release(20)


def test_a_held_notice_does_not_hold_the_callers_of_a_host_that_was_killed(
    cloud_bench: Bench, cloud: Cloud, host: Host
) -> None:
    """With supervisor and worker killed then, the reader gets his error at once, from nobody."""
    with held(cloud_bench, cloud, host) as caller:
        status = host.status()
        for pid in (status.pid, status.worker):
            os.kill(pid, signal.SIGKILL)

        assert b"cat: " in caller.communicate(timeout=20)[1]
    until(lambda: not HostFolder(host.folder).is_taken, 20)


@pytest.mark.parametrize("clear", ["start", "repair"])
def test_a_held_notice_does_not_keep_a_host_that_was_killed(
    clear: str, cloud_bench: Bench, cloud: Cloud, host: Host
) -> None:
    """All killed then, survivor included, are gone; the next start, or a repair, frees the reader."""
    with held(cloud_bench, cloud, host) as caller:
        status = host.status()
        survivors = children(status.pid) - {status.worker}
        # The worker last: a survivor acts when it sees nobody any more.
        for pid in (status.pid, *survivors, status.worker):
            os.kill(pid, signal.SIGKILL)
        until(lambda: not HostFolder(host.folder).is_taken, 20)
        cloud.gate.open()
        assert caller.poll() is None
        act: Callable[[], object] = {
            "start": lambda: cloud_bench.start("hosts/one"),
            "repair": lambda: repair_hosts(cloud_bench.root / "hosts"),
        }[clear]
        made = act()

        assert b"cat: " in caller.communicate(timeout=30)[1]
    if isinstance(made, Host):
        assert (cloud_bench.at / "b").read_bytes() == b"beta"
        made.release(20)
    assert not is_mounted(cloud_bench.at)


def _is_held(worker: int) -> bool:
    """Whether the kernel holds a thread of this process or of its child."""
    return any(
        _read(thread / "wchan") == "fuse_reverse_inval_entry"
        for pid in (worker, *children(worker))
        for thread in Path(f"/proc/{pid}/task").glob("*")
    )


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # it has ended
