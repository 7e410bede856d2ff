"""The ends of a host: released, told to go, with a store that is alive or dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from datastores.errors import CredentialExpired, NotFound, StoreError
from datastores.storage.contract import Patience
from mount.errors import MountError, MountRefused, OutputFailed
from mount.host.folder import HostFolder
from mount.host.host import LAST_SECONDS
from mount.host.order import order_to_json
from mount.host.start import find_host, hosts, repair_hosts, start_host
from tests.mount.agent.cloud import Cloud
from tests.mount.host.bench import Bench, is_mounted, kill_host, until

HASTY = Patience(connect_seconds=1, read_seconds=2, attempts=2, total_seconds=300)
STUBBORN = Patience(connect_seconds=300, read_seconds=300, attempts=50, total_seconds=600)


@contextmanager
def written(path: Path, body: bytes) -> Iterator[int]:
    """A file that stays open; that its close fails after the mount's end is no news."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.write(fd, body)
        yield fd
    finally:
        with suppress(OSError):
            os.close(fd)


def test_a_host_outlives_its_creator(bench: Bench) -> None:
    """The mount is there after the process that asked for it has ended, and is found by others."""
    code = (
        "import sys; from pathlib import Path; from mount.host.start import start_host; "
        "from mount.host.order import order_from_json; "
        "start_host(order_from_json(sys.stdin.read()), Path(sys.argv[1]))"
    )
    (bench.store / "a").write_bytes(b"alpha")
    bench.started.append(bench.root / "hosts" / "one")
    subprocess.run(
        [sys.executable, "-c", code, bench.started[0]],
        input=order_to_json(bench.order()).encode(),
        check=True,
        timeout=60,
    )

    assert (bench.at / "a").read_bytes() == b"alpha"
    assert hosts(bench.root / "hosts") == [find_host(bench.started[0])]
    hosts(bench.root / "hosts")[0].release(20)
    assert hosts(bench.root / "hosts") == []


def test_release_stores_what_is_open(bench: Bench) -> None:
    """A file that somebody still writes to is stored as far as it goes, and the mount is gone."""
    host = bench.start()
    with written(bench.at / "open", b"so far") as file:
        began = time.monotonic()
        host.release(3)

        assert time.monotonic() - began < 3 + LAST_SECONDS
        assert not is_mounted(bench.at)
        with pytest.raises(OSError, match=r"not connected|abort"):
            os.write(file, b"too late")
    assert (bench.store / "open").read_bytes() == b"so far"
    host.release(1)


def test_release_keeps_its_bound_with_a_dead_store(cloud_bench: Bench, cloud: Cloud) -> None:
    """With a store that is silent, release ends in time, names the file, and loses no byte."""
    host = cloud_bench.start(patience=STUBBORN)
    with written(cloud_bench.at / "result", b"precious"):
        cloud.gate.close()
        began = time.monotonic()
        with pytest.raises(OutputFailed, match='"result" did not arrive'):
            host.release(3)
        seconds = time.monotonic() - began

    assert seconds < 3 + LAST_SECONDS
    assert (is_mounted(cloud_bench.at), find_host(host.folder)) == (False, None)
    cloud.gate.open()
    again = cloud_bench.start("again")
    assert (cloud_bench.at / "result").read_bytes() == b"precious"
    assert again.status().left == []
    again.release(20)
    assert cloud.stored("result") == {"result": b"precious"}


def test_a_notice_is_obeyed_with_a_dead_store(cloud_bench: Bench, cloud: Cloud) -> None:
    """SIGTERM unmounts and ends within the order's bound, whatever the store does."""
    host = cloud_bench.start(patience=STUBBORN, stop_seconds=2.0)
    with written(cloud_bench.at / "result", b"precious"):
        cloud.gate.close()
        began = time.monotonic()
        os.kill(host.status().pid, signal.SIGTERM)
        until(lambda: not HostFolder(host.folder).is_taken)

        assert time.monotonic() - began < 2 + 5 + 5
    assert not is_mounted(cloud_bench.at)
    cloud.gate.open()
    cloud_bench.start("again").release(20)
    assert cloud.stored("result") == {"result": b"precious"}


def test_a_notice_stores_what_is_open(bench: Bench) -> None:
    """SIGTERM stores what was written to open files before the host ends."""
    host = bench.start(stop_seconds=3.0)
    with written(bench.at / "open", b"so far"):
        os.kill(host.status().pid, signal.SIGTERM)
        until(lambda: not HostFolder(host.folder).is_taken)

    assert (bench.store / "open").read_bytes() == b"so far"
    assert not is_mounted(bench.at)


def test_an_unmount_by_hand_ends_the_host(bench: Bench) -> None:
    """Whoever unmounts by hand ends the host, and everything is stored."""
    host = bench.start()
    (bench.at / "a").write_bytes(b"alpha")
    subprocess.run(["umount", bench.at], check=True, timeout=20)
    until(lambda: not HostFolder(host.folder).is_taken)

    assert (bench.store / "a").read_bytes() == b"alpha"
    host.release(1)


def test_a_second_host_of_a_folder_is_refused(bench: Bench) -> None:
    """While a host lives in a folder, another one is refused there and the first goes on."""
    host = bench.start()
    with pytest.raises(MountRefused, match="a host lives in"):
        bench.start()

    assert host.status().restarts == 0
    host.release(20)


def test_a_spool_belongs_to_one_host(bench: Bench) -> None:
    """A second mount with the spool of a living one is refused; the first goes on."""
    host = bench.start()
    with pytest.raises(MountRefused, match="another mount uses the spool"):
        bench.start("other", at=bench.root / "elsewhere")

    (bench.at / "a").write_bytes(b"alpha")
    host.release(20)
    assert (bench.store / "a").read_bytes() == b"alpha"


def test_a_single_file_is_refused(bench: Bench) -> None:
    """A place that is one file is refused with its reason, and nothing is left mounted."""
    (bench.store / "a").write_bytes(b"alpha")
    with pytest.raises(MountRefused, match="single file"):
        bench.start(place="a")
    assert (is_mounted(bench.at), find_host(bench.root / "host")) == (False, None)


def test_a_store_that_is_not_there_is_a_typed_error(bench: Bench, cloud: Cloud) -> None:
    """What the store says at the start comes out of `start_host` as the error that it is."""
    bench.lease = cloud.lease
    wrong = type(cloud.definition)(
        cloud.definition.name,
        "nowhere",
        cloud.definition.account,
        endpoint=cloud.definition.endpoint,
    )
    with pytest.raises((NotFound, StoreError)) as caught:
        bench.start(definition=wrong, place="d", patience=HASTY)
    assert (caught.value.store, is_mounted(bench.at)) == ("cloud", False)


def test_an_ended_lease_is_a_typed_error(bench: Bench, cloud: Cloud) -> None:
    """A lease that has ended is named as the reason, with its class."""
    bench.definition = cloud.definition
    bench.lease = replace(cloud.lease, expires_at=time.time() - 3600)
    with pytest.raises(CredentialExpired, match="cloud"):
        bench.start(place="d")


def test_the_release_of_a_dead_host_names_what_it_left(cloud_bench: Bench, cloud: Cloud) -> None:
    """A host that died with bytes that no store has is released with their names, not in silence."""
    host = cloud_bench.start(patience=HASTY)
    with written(cloud_bench.at / "result", b"precious") as file:
        cloud.gate.close()
        with pytest.raises(OSError, match=r"."):
            os.fsync(file)
        kill_host(host)

    with pytest.raises(OutputFailed, match='"result"'):
        host.release(5)
    assert not is_mounted(cloud_bench.at)
    cloud.gate.open()
    cloud_bench.start("again").release(20)
    assert cloud.stored("result") == {"result": b"precious"}


def test_a_start_ends_in_time(cloud_bench: Bench, cloud: Cloud) -> None:
    """With a store that is silent a start is given up in its bound, and leaves no process."""
    cloud.gate.close()
    folder = cloud_bench.root / "host"
    cloud_bench.started.append(folder)
    began = time.monotonic()
    with pytest.raises(MountError, match="within 3 s"):
        start_host(cloud_bench.order(place="d", patience=STUBBORN), folder, seconds=3)

    assert time.monotonic() - began < 15
    until(lambda: not HostFolder(folder).is_taken)
    assert not is_mounted(cloud_bench.at)


def test_dead_mounts_of_all_hosts_are_cleared(bench: Bench) -> None:
    """`repair_hosts` clears the places of dead hosts and leaves the living alone."""
    dead = bench.start("hosts/dead", at=bench.root / "one")
    alive = bench.start("hosts/alive", at=bench.root / "two", spool=bench.root / "two spool")
    kill_host(dead)

    assert repair_hosts(bench.root / "hosts") == [str(bench.root / "one")]
    assert hosts(bench.root / "hosts") == [alive]
    alive.release(20)
