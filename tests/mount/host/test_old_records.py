"""What a dead host wrote down is not held against others."""

from __future__ import annotations

from mount.fuse.mounts import find_mount
from mount.host.folder import HostFolder
from mount.host.host import Host
from mount.host.start import repair_hosts
from tests.mount.host.bench import Bench, kill_host


def test_an_old_record_does_not_cut_another_hosts_mount(bench: Bench) -> None:
    """A dead host's record names a connection that is another's now, who goes on serving."""
    (bench.store / "a").write_bytes(b"alpha")
    dead = HostFolder(bench.start("hosts/dead").folder)
    kill_host(Host(dead.path))
    alive = bench.start("hosts/alive")
    line, record = find_mount(str(bench.at)), dead.read_record()
    assert line
    assert record
    # The kernel gives the lowest free number, unless somebody else was quicker.
    dead.write_record(record | {"connection": line.connection})

    assert repair_hosts(bench.root / "hosts") == []
    assert (bench.at / "a").read_bytes() == b"alpha"
    alive.release(20)
