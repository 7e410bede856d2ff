"""The control socket: what it says, what it does, whom and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from datastores.contract import LeaseSpec
from datastores.credentials.kinds import Sas
from datastores.errors import WireError
from datastores.secret import Secret
from mount.host.folder import HostFolder
from mount.host.host import Host
from mount.host.order import MountOrder, order_from_json, order_to_json
from tests.mount.agent.cloud import Cloud
from tests.mount.host.bench import Bench, kill_worker, names, until
from tests.servers.azurite import Azurite

CANARY = "sig=canary0secret0of0the0lease"


@pytest.fixture
def host(bench: Bench) -> Iterator[Host]:
    """A host of a store with one file, released at the end."""
    (bench.store / "a").write_bytes(b"alpha")
    started = bench.start()
    yield started
    started.release(20)


def ask(host: Host, request: bytes) -> tuple[int, dict[str, object]]:
    """The status and the answer to these bytes."""
    with HostFolder(host.folder).connect(20) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def post(path: str, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), size, body)


@pytest.mark.parametrize(
    ("request_bytes", "status", "words"),
    [
        (post("/release", b"{"), 400, "not JSON"),
        (post("/release", b"[]"), 400, 'exactly the field "bound_seconds"'),
        (post("/release", b'{"bound_seconds": "1"}'), 400, "is a text, not a number"),
        (post("/release", b'{"bound_seconds": 1, "x": 1}'), 400, "exactly the field"),
        (post("/warm", b'{"patterns": [1]}'), 400, "is an integer, not a text"),
        (post("/lease", b'{"version": 1}'), 400, 'exactly the field "lease"'),
        (post("/lease", b'{"version": 2, "lease": {}}'), 400, 'has version "2"'),
        (post("/lease", b"", 1 << 30), 400, "no length for a request"),
        (post("/mount", b"{}"), 404, "GET /status"),
        (b"GET /lease HTTP/1.0\r\n\r\n", 404, "GET /status"),
        (b"BREW /tea HTTP/1.0\r\n\r\n", 501, "ask as the class Host does"),
    ],
)
def test_what_is_no_request_is_refused(
    host: Host, request_bytes: bytes, status: int, words: str
) -> None:
    """Each misfit is answered with its status and a sentence, and changes nothing."""
    found, answer = ask(host, request_bytes)

    assert (found, words in str(answer["message"])) == (status, True), answer
    assert host.status().restarts == 0


def test_the_socket_is_its_owners(host: Host) -> None:
    """Nobody else may even connect: folder and socket have no bits for others."""
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (host.folder, host.folder / "control")]

    assert modes == [0o700, 0o600]


def test_another_user_is_refused() -> None:
    """A user who gets as far as the socket is refused by his number, in a sentence."""
    root = Path(tempfile.mkdtemp(prefix="host-"))
    bench = Bench.make(root)
    try:
        host = bench.start()
        for path in (root, host.folder):
            path.chmod(0o755)
        (host.folder / "control").chmod(0o666)
        code = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534); "
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
            "s.sendall(b'GET /status HTTP/1.0\\r\\n\\r\\n'); "
            "print(s.makefile().read())"
        )
        answer = subprocess.run(
            [sys.executable, "-I", "-c", code, host.folder / "control"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout

        assert answer.startswith("HTTP/1.0 403")
        assert "user 65534 does not own this mount" in answer
        host.release(20)
    finally:
        bench.end()
        shutil.rmtree(root)


def test_status_tells_what_the_mount_did(bench: Bench, host: Host) -> None:
    """Counters, dirty bytes, cache and processes are those of this mount."""
    assert (bench.at / "a").read_bytes() == b"alpha"
    with (bench.at / "b").open("wb", buffering=0) as file:
        file.write(b"12345")
        status = host.status()

    assert (status.name, status.at, status.read_only) == ("data", str(bench.at), False)
    assert (status.dirty_bytes, status.counters["bytes_written"], status.restarts) == (5, 5, 0)
    assert status.cache["quota_bytes"] == 1 << 30
    assert status.counters["defects"] == 0
    assert abs(time.time() - status.since) < 60
    assert len({status.pid, status.worker, os.getpid()}) == 3
    assert 0 < status.passthrough_share <= 1


def test_refresh_shows_what_others_changed(bench: Bench, host: Host) -> None:
    """After a refresh, a name that was known not to be there is looked for again."""
    assert names(bench.at) == ["a"]
    assert not (bench.at / "late").exists()
    (bench.store / "late").write_bytes(b"here")
    host.refresh()

    until((bench.at / "late").exists)
    assert (bench.at / "late").read_bytes() == b"here"


def test_warming_fills_the_cache(bench: Bench) -> None:
    """What the order and a later wish name is in the cache before anybody opens it."""
    for number in range(8):
        (bench.store / "d").mkdir(exist_ok=True)
        (bench.store / "d" / f"f{number}").write_bytes(b"%d" % number * 1000)
    host = bench.start(place="d", warm=("f[0-3]",))
    until(lambda: host.status().warming["fetched"] == 4)
    host.warm(["f[4-7]"])
    until(lambda: host.status().warming["fetched"] == 4 and not host.status().warming["under_way"])

    for number in range(8):
        assert (bench.at / f"f{number}").read_bytes() == b"%d" % number * 1000
    assert (host.status().counters["cache_hits"], host.status().counters["cache_misses"]) == (8, 0)
    host.release(20)


def test_a_renewed_lease_is_used_by_open_files(
    cloud_bench: Bench, cloud: Cloud, azurite: Azurite
) -> None:
    """A host begun with a useless lease works with the one it is sent, also after a kill."""
    with cloud.store() as store:
        store.write("a", b"alpha")
    useless = LeaseSpec(Sas(Secret("sv=2021-08-06&" + CANARY)), time.time() + 3600)
    host = cloud_bench.start(lease=useless)
    with pytest.raises(OSError, match=r"."):
        (cloud_bench.at / "a").read_bytes()
    good = LeaseSpec(Sas(Secret(_token(azurite, cloud))), time.time() + 3600)
    host.renew(good)

    assert (cloud_bench.at / "a").read_bytes() == b"alpha"
    dead = kill_worker(host)
    until(lambda: host.status().worker != dead)
    (cloud_bench.at / "b").write_bytes(b"beta")
    assert host.status().lease_ends == good.expires_at
    _search_for_secrets(host, cloud_bench, good)
    host.release(20)
    assert cloud.stored("b") == {"b": b"beta"}


def _token(azurite: Azurite, cloud: Cloud) -> str:
    return generate_container_sas(
        azurite.account,
        cloud.definition.container,
        account_key=azurite.key.reveal(),
        permission=ContainerSasPermissions(read=True, write=True, delete=True, list=True),
        expiry=datetime.now(UTC) + timedelta(hours=2),
    )


def _search_for_secrets(host: Host, bench: Bench, lease: LeaseSpec) -> None:
    """No lease is in argv, environment, or any file of the host, its log included."""
    credential = lease.credential
    assert isinstance(credential, Sas)
    signature = credential.token.reveal().rpartition("sig=")[2].encode()
    status = host.status()
    texts = [
        Path(f"/proc/{pid}/{name}").read_bytes()
        for pid in (status.pid, status.worker)
        for name in ("cmdline", "environ")
    ]
    texts += [path.read_bytes() for path in bench.root.rglob("*") if path.is_file()]
    texts.append(status.to_json().encode())
    for secret in (signature, CANARY.removeprefix("sig=").encode()):
        assert [text for text in texts if secret in text] == []


def test_an_order_comes_back_as_it_was(bench: Bench, cloud: Cloud) -> None:
    """The JSON of an order stands for the same order, and the lease is not in what is shown."""
    order = bench.order(definition=cloud.definition, lease=cloud.lease, warm=("a", "b/*"), uid=7)

    assert order_from_json(order_to_json(order)) == order
    assert "sig=" not in repr(order)
    assert "sig=" not in order_to_json(order.without_lease())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"at": "relative"}, "is not absolute"),
        ({"at": 7}, '"at" of the mount order is an integer, not a text'),
        ({"cache_quota_bytes": "much"}, "is a text, not an integer"),
        ({"surprise": 1}, "is a field this side does not know"),
        ({"version": 9}, 'has version "9"'),
        ({"warm": "all"}, "is a text, not a list"),
        ({"place": None}, "is null, not a text"),
    ],
)
def test_misfits_of_an_order_are_named(bench: Bench, change: dict[str, object], words: str) -> None:
    """An order with anything unknown, missing or of a wrong type is refused by its path."""
    raw = json.loads(order_to_json(bench.order())) | change

    with pytest.raises(WireError, match=words):
        order_from_json(json.dumps(raw))


def test_a_missing_field_is_named(bench: Bench) -> None:
    """An order that lacks what has no default is refused."""
    raw = json.loads(order_to_json(bench.order()))
    del raw["spool"]

    with pytest.raises(WireError, match='"spool" of the mount order is missing'):
        order_from_json(json.dumps(raw))
    assert isinstance(replace(bench.order(), name="x"), MountOrder)
