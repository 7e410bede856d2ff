"""The daemon's parts on their own: metrics, memory, processes, strands, leases, systemd."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from datastores.contract import LeaseSpec
from datastores.credentials.kinds import Anonymous, Sas
from datastores.definitions import LocalFolder
from datastores.names import DatastoreName
from datastores.secret import Secret
from mount.daemon import memory
from mount.daemon.home import Home, default_home
from mount.daemon.lease_source import LeaseSource
from mount.daemon.memory import Memory
from mount.daemon.metrics import MountFigures, exposition, metrics_of
from mount.daemon.processes import Watch, name_of
from mount.daemon.renewals import Renewals
from mount.daemon.shares import share_of
from mount.daemon.sharing import Attach, Mount, Phase, Reference, State, Step
from mount.daemon.strands import Strands
from mount.daemon.systemd import unit
from mount.errors import MountError
from mount.host.order import MountOrder
from tests.mount.daemon.node import Node

SAS = "sv=2021-12-02&sp=rl&sig=canary"
WAIT_SECONDS = 30.0


def order(**changes: object) -> MountOrder:
    """An order for a folder of this machine."""
    given: dict[str, object] = {
        "name": "one",
        "definition": LocalFolder(DatastoreName("disk"), "/srv"),
        "place": "train",
        "at": Path("/data/one"),
        "cache": Path("/cache"),
        "cache_quota_bytes": 1,
        "cache_reserve_bytes": 1,
        "spool": Path("/spool"),
        "lease": LeaseSpec(Sas(Secret(SAS))),
    }
    return MountOrder(**{**given, **changes})  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    "changes",
    [
        {"at": Path("/x")},
        {"name": "two"},
        {"lease": None},
        {"warm": ("**",)},
        {"spool": Path("/y")},
    ],
)
def test_what_is_not_seen_does_not_part(changes: dict[str, object]) -> None:
    """Paths, names, proofs and wishes of a job do not keep it from sharing."""
    assert share_of(order(**changes)) == share_of(order())


@pytest.mark.parametrize(
    "changes",
    [
        {"place": "other"},
        {"read_only": False},
        {"umask": 0o077},
        {"uid": 7},
        {"allow_other": True},
        {"cache": Path("/elsewhere")},
        {"definition": LocalFolder(DatastoreName("disk"), "/other")},
    ],
)
def test_what_is_seen_parts(changes: dict[str, object]) -> None:
    """Whoever would see something else gets another mount."""
    assert share_of(order(**changes)) != share_of(order())


def test_memory_comes_back_without_secrets(tmp_path: Path) -> None:
    """State, orders and sources survive; leases are not on the disk."""
    source = LeaseSource("images:train", True, "demo", "/home/me", {"HOME": "/home/me"})
    reference = Reference("s", "1.2", Step.LINKED, True, True, Attach("/a", "s", None))
    known = Memory(
        State({"s": Mount(Phase.SERVING, 2, ("/b",))}, {"/a": reference}),
        {"s": order()},
        {"s": source},
    )
    path = tmp_path / "state.json"

    memory.save(path, known)

    assert "canary" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert memory.load(path) == Memory(known.state, {"s": order(lease=None)}, {"s": source})


@pytest.mark.parametrize("text", ["", "{", "{}", '{"version": 2}', "[]", '{"version": 1}'])
def test_memory_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    """What is torn, or of another version, is refused with a next step."""
    path = tmp_path / "state.json"
    path.write_text(text)

    with pytest.raises(MountError, match="and remove it"):
        memory.load(path)


def test_an_exposition_can_be_read_line_by_line() -> None:
    """The text has help, type and value of each name; labels are escaped."""
    mounts = [
        MountFigures('a"b\\c\nd', "images", 2, 1, {"opens": 7, "blocked_seconds": 0.25}),
        MountFigures("silent", "labels", 1, 0, None),
    ]

    text = exposition(metrics_of(mounts, version="1", since=5.0, forgotten=0))

    labels = r'{share="a\"b\\c\nd",datastore="images"}'
    lines = text.splitlines()
    assert text.endswith("\n")
    assert f"datastores_mount_up{labels} 1" in lines
    assert 'datastores_mount_up{share="silent",datastore="labels"} 0' in lines
    assert f"datastores_mount_opens_total{labels} 7" in lines
    assert f"datastores_mount_blocked_seconds_total{labels} 0.25" in lines
    named = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert named <= typed


def test_the_end_of_a_process_is_told_once() -> None:
    """The watch calls back when a process ends, and at once for one that has ended."""
    watch, ended = Watch.begin(), threading.Semaphore(0)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = name_of(process.pid)
    assert name is not None

    watch.add(name, ended.release)
    assert not ended.acquire(timeout=0)
    process.communicate()
    assert ended.acquire(timeout=WAIT_SECONDS)
    watch.add(name, ended.release)
    assert ended.acquire(timeout=WAIT_SECONDS)
    watch.close()

    assert not ended.acquire(timeout=0)


def test_a_number_used_again_is_another_process() -> None:
    """The name of a process has its start in it."""
    watch, ended = Watch.begin(), threading.Event()

    watch.add(f"{os.getpid()}.1", ended.set)
    watch.close()

    assert ended.is_set()


def test_deeds_about_one_thing_keep_their_order() -> None:
    """Whatever else runs, deeds of one strand come one after the other, also after a failure."""
    strands, done = Strands(), []
    gate = threading.Event()

    def fail() -> None:
        assert gate.wait(WAIT_SECONDS)
        raise ValueError("a defect")

    strands.run("a", fail)
    for number in range(50):
        strands.run("a", lambda number=number: done.append(number))  # type: ignore[misc]  # bound
    assert not strands.wait_idle(0)
    gate.set()
    assert strands.wait_idle(WAIT_SECONDS)
    strands.close()

    assert done == list(range(50))


def test_renewals_come_when_they_are_due() -> None:
    """A share is renewed at its moment, and again at the moment that the renewal names."""
    renewed, twice = [], threading.Event()

    def renew(share: str) -> float | None:
        renewed.append(share)
        if len(renewed) == 2:
            twice.set()
            return None
        return time.time()

    renewals = Renewals(renew)
    renewals.schedule("never", time.time() + 3600)
    renewals.start()
    renewals.schedule("now", time.time())

    assert twice.wait(WAIT_SECONDS)
    renewals.close()
    assert renewed == ["now", "now"]


def test_a_renewal_that_fails_is_told() -> None:
    """The reason is there until a later one succeeds."""
    failed = threading.Event()

    def renew(share: str) -> float | None:
        if failed.is_set():
            return None
        failed.set()
        raise MountError("no registry here")

    renewals = Renewals(renew)
    renewals.start()
    renewals.schedule("now", time.time())
    deadline = time.monotonic() + WAIT_SECONDS
    while renewals.trouble("now") is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert renewals.trouble("now") == "no registry here"
    renewals.schedule("now", time.time())
    while renewals.trouble("now") is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    renewals.close()


def test_root_finds_the_machines_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session's folder is the default; without a daemon there, the machine's counts as root's."""
    mine, system = tmp_path / "datastores-agent", tmp_path / "system"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("DATASTORES_AGENT_STATE", raising=False)
    found = [default_home(system)]
    locks = []

    for folder in (system, mine):
        Home.at(folder).make()
        locks.append(Home.at(folder).lock())
        found.append(default_home(system))
    for lock in locks:
        os.close(lock)
    monkeypatch.setenv("DATASTORES_AGENT_STATE", str(tmp_path / "given"))
    found.append(default_home(system))

    assert found == [mine, system, mine, tmp_path / "given"]


def test_the_unit_starts_this_program() -> None:
    """The unit tells systemd to wait for readiness, to upgrade on reload, to leave hosts alone."""
    text = unit("/opt/bin/datastores-agent")

    wanted = {
        "Type=notify",
        "ExecStart=/opt/bin/datastores-agent daemon --keep-mounts",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "KillMode=process",
    }
    assert wanted <= set(text.splitlines())


def test_systemd_is_told(node: Node, tmp_path: Path) -> None:
    """Readiness, an upgrade and the end are each announced on the notify socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(WAIT_SECONDS)
        node.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        daemon = node.start()
        said = [receiver.recv(4096).decode().splitlines()[0]]
        daemon.send_signal(signal.SIGHUP)
        said += [receiver.recv(4096).decode().splitlines()[0] for _ in range(2)]
        daemon.terminate()
        said.append(receiver.recv(4096).decode().splitlines()[0])

    assert said == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


def test_metrics_on_tcp_where_they_are_asked_for(node: Node) -> None:
    """With --metrics the numbers, and nothing else, are served on the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    node.start("--metrics", f"127.0.0.1:{port}")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT_SECONDS) as answer:
        kind, text = answer.headers["Content-Type"], answer.read().decode()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=WAIT_SECONDS)
    refused.value.close()

    assert kind.startswith("text/plain; version=0.0.4")
    assert "datastores_agent_mounts 0" in text.splitlines()
    assert refused.value.code == 404


def test_a_lease_comes_from_the_other_plane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `datastores lease` prints becomes a definition and a lease; its errors keep their code."""
    package = tmp_path / "datastores"
    package.mkdir()
    answer = {
        "version": 1,
        "definition": {"kind": "Local", "name": "disk", "path": "/srv"},
        "place": "train",
        "lease": {
            "credential": {"kind": "Anonymous"},
            "secrets": {},
            "expires_at": None,
            "renew_at": None,
        },
        "note": "",
    }
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(
        "import json, sys\n"
        "if sys.argv[-1] == 'gone:':\n"
        "    told = {'error': 'NotRegistered', 'message': 'no datastore \"gone\"', 'exit_code': 4}\n"
        "    print('a warning', file=sys.stderr)\n"
        "    print(json.dumps(told), file=sys.stderr)\n"
        "    sys.exit(4)\n"
        f"print(json.dumps({answer!r}))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    leased = LeaseSource.here("disk:train", is_writable=False, workspace=None).fetch()
    with pytest.raises(MountError, match='no datastore "gone"') as refused:
        LeaseSource.here("gone:", is_writable=False, workspace=None).fetch()

    assert (leased.definition, leased.place, leased.lease) == (
        LocalFolder(DatastoreName("disk"), "/srv"),
        "train",
        LeaseSpec(Anonymous()),
    )
    assert refused.value.exit_code == 4
