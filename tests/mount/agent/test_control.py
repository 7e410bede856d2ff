"""An agent at work hears: status, cancel, and new leases for all that runs."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from datastores.contract import InputMode, JobSpec, LeaseSpec
from datastores.contract.control import cancel, send_leases, status
from datastores.contract.control_socket import MOST_BYTES, socket_path
from datastores.credentials.kinds import Anonymous, Sas
from datastores.errors import WireError
from datastores.secret import Secret
from mount.agent.control import _MOST_AT_ONCE
from tests.mount.agent.cloud import Cloud
from tests.mount.agent.jobs import ROOT, Agent, Bench
from tests.servers.azurite import Azurite

# What an agent at work does until it is told: `go` ends its script.
_WAITS = """
    import os, pathlib, sys
    print("begun", flush=True)
    os.open("go", os.O_RDONLY)  # a pipe: opens when somebody writes
"""


def test_status_while_the_script_runs(bench: Bench, cloud: Cloud) -> None:
    """The status names phase, process and each reference with its path and its lease's end."""
    bench.script(_WAITS)
    spec = cloud.input_from(bench)

    with _begun(bench, spec) as agent:
        found = status(bench.run)
        _let_go(bench)
        ended = agent.end()

    assert found is not None
    assert (found.run_id, found.phase, found.pid) == ("run_1", "running", agent.child.pid)
    assert (found.ending, found.exit_code, ended.code) == (None, None, 0)
    work = bench.run / "work"
    assert [
        (one.name, one.how, one.state, one.path, one.files, one.bytes, one.lease_expires_at)
        for one in found.references
    ] == [
        ("train", "download", "ready", f"{work}/cloud/train", 1, 5, cloud.lease.expires_at),
        ("labels", "download", "ready", f"{work}/images/labels.csv", 1, 3, None),
        ("model", "upload", "ready", f"{work}/images/runs/1", 0, 0, None),
    ]


def test_the_socket_is_private_and_goes_with_the_agent(bench: Bench) -> None:
    """Only the run's user may open the socket, and when the agent has ended there is none."""
    bench.script(_WAITS)

    with _begun(bench, bench.spec()) as agent:
        kind = (bench.run / "control").lstat().st_mode
        _let_go(bench)
        agent.end()

    assert (stat.S_ISSOCK(kind), stat.S_IMODE(kind)) == (True, 0o600)
    assert not (bench.run / "control").exists()
    assert status(bench.run) is None


def test_another_user_is_not_answered(bench: Bench) -> None:
    """Who is neither the run's user nor root hears nothing, even where the socket lets it in."""
    bench.script(_WAITS)
    code = f"""
import os, pathlib, socket, sys
sys.path.insert(0, {str(ROOT)!r})
link = socket.socket(socket.AF_UNIX)
from datastores.contract.control_socket import socket_path
with socket_path(pathlib.Path(sys.argv[1])) as path:
    os.setuid(65534)
    link.connect(path)
link.sendall(b'{{"version": 1, "kind": "status"}}\\n')
print(link.recv(1))
"""
    with _begun(bench, bench.spec()) as agent:
        (bench.run / "control").chmod(0o666)
        stranger = subprocess.run(
            [sys.executable, "-c", code, str(bench.run)],
            check=False,
            capture_output=True,
            timeout=60,
        )
        _let_go(bench)
        agent.end()

    # The stranger's line may be unread when the agent hangs up.
    assert (
        stranger.stdout == b"b''\n"
        or b"ConnectionResetError" in stranger.stderr
        or (b"BrokenPipeError" in stranger.stderr)
    ), stranger


def test_cancel_ends_the_run(bench: Bench) -> None:
    """A cancel reaches the script as SIGINT, results are kept, and the run is canceled."""
    bench.script("""
        import os, time
        open(os.environ["AZUREML_DATAREFERENCE_model"] + "/x", "w").write("kept")
        print("begun", flush=True)
        time.sleep(1000)
    """)

    with _begun(bench, bench.spec()) as agent:
        answered = cancel(bench.run)
        ended = agent.end()

    assert answered is not None
    assert (ended.code, bench.stored()) == (130, {"x": "kept"})
    assert (bench.report()["status"], bench.report()["ending"]) == ("Canceled", "canceled")


def test_cancel_while_staging(bench: Bench, cloud: Cloud) -> None:
    """A cancel during a download that hangs ends the run at once; the script never starts."""
    bench.script("print('started')")
    spec = cloud.input_from(bench)
    cloud.gate.close()
    agent = bench.start(spec)
    assert cloud.gate.reached.wait(30)

    answered = cancel(bench.run)
    ended = agent.end()

    assert answered is not None
    assert answered.phase == "staging"
    assert (ended.code, ended.out) == (130, b"")
    assert not (bench.run / "work" / "cloud" / "train").exists()
    assert bench.report()["status"] == "Canceled"


def test_strange_callers_do_not_disturb(bench: Bench) -> None:
    """Callers who are silent, send rubbish, or never end are left, and the run goes on."""
    bench.script(_WAITS)

    with _begun(bench, bench.spec()) as agent, socket_path(bench.run) as path:
        silent = [_connected(path) for _ in range(_MOST_AT_ONCE - 2)]
        rubbish, endless = _connected(path), _connected(path)
        rubbish.sendall(b"hello\n")
        answer = rubbish.recv(1 << 16)
        with endless, pytest.raises(OSError, match=r"pipe|reset"):
            endless.sendall(b"x" * (2 * MOST_BYTES))
        found = status(bench.run)
        for one in (*silent, rubbish):
            one.close()
        _let_go(bench)
        ended = agent.end()

    assert b"is not JSON" in answer
    assert found is not None
    assert (found.phase, ended.code) == ("running", 0)


def test_unknown_names_are_refused_as_a_whole(bench: Bench, cloud: Cloud) -> None:
    """Leases with a name that the run lacks are refused by that name, and none is taken."""
    bench.script(_WAITS)
    fresh = LeaseSpec(Anonymous(), 1.0)

    with _begun(bench, cloud.input_from(bench)) as agent:
        with pytest.raises(WireError, match='the run has no reference "valid"'):
            send_leases(bench.run, {"train": fresh, "valid": fresh})
        with pytest.raises(WireError, match="no snapshot"):
            send_leases(bench.run, {}, source=fresh)
        found = status(bench.run)
        _let_go(bench)
        agent.end()

    assert found is not None
    assert found.references[0].lease_expires_at == cloud.lease.expires_at


def test_an_upload_goes_on_with_a_renewed_lease(
    bench: Bench, cloud: Cloud, azurite: Azurite
) -> None:
    """An output whose lease ends while the script runs arrives with the lease sent meanwhile."""
    bench.script(_WAITS + "    open(os.environ['AZUREML_DATAREFERENCE_model'] + '/x', 'w')\n")
    short = _lease(azurite, cloud, 5)
    spec = cloud.output_to(bench)
    spec = replace(spec, outputs=(replace(spec.outputs[0], lease=short),))

    with _begun(bench, spec) as agent:
        answered = send_leases(bench.run, {"model": cloud.lease})
        _await_end(short)
        _let_go(bench)
        ended = agent.end()

    assert answered is not None
    assert [one.lease_expires_at for one in answered.references if one.name == "model"] == [
        cloud.lease.expires_at
    ]
    assert (ended.code, cloud.stored()) == (0, {"x": b""}), ended.err


def test_a_download_under_way_waits_for_a_late_lease(
    bench: Bench, cloud: Cloud, azurite: Azurite
) -> None:
    """An input whose lease has ended is fetched when the renewal comes a little late."""
    bench.script("print(open('cloud/train/a.txt').read())")
    spec = cloud.input_from(bench)
    ended_lease = _lease(azurite, cloud, -1)
    spec = replace(spec, inputs=(replace(spec.inputs[0], lease=ended_lease),))
    agent = bench.start(spec)
    _await(lambda: send_leases(bench.run, {"train": cloud.lease}) is not None)

    ended = agent.end()

    assert (ended.code, ended.out) == (0, b"alpha\n"), ended.err


def test_a_mount_goes_on_with_a_renewed_lease(bench: Bench, cloud: Cloud, azurite: Azurite) -> None:
    """A mounted input is read past the end of its first lease, the file opened before included."""
    bench.script("""
        import os
        data = os.environ["AZUREML_DATAREFERENCE_train"]
        assert os.path.ismount(data)
        print("begun", flush=True)
        os.open("go", os.O_RDONLY)
        print(open(data + "/a.txt").read())
    """)
    short = _lease(azurite, cloud, 6)
    spec = _mounted(cloud, bench, short)

    with _begun(bench, spec) as agent:
        answered = send_leases(bench.run, {"train": cloud.lease})
        _await_end(short)
        _let_go(bench)
        ended = agent.end()

    assert answered is not None
    assert (ended.code, ended.out) == (0, b"alpha\n"), ended.err


def test_a_mount_whose_lease_ended_says_so(bench: Bench, cloud: Cloud, azurite: Azurite) -> None:
    """Without a renewal the script is refused, never told of broken hardware; log and report tell."""
    bench.script("""
        import errno, os
        data = os.environ["AZUREML_DATAREFERENCE_train"]
        print("begun", flush=True)
        os.open("go", os.O_RDONLY)
        try:
            open(data + "/a.txt").read()
        except OSError as error:
            assert error.errno == errno.EKEYEXPIRED, error
            raise SystemExit(7)
    """)
    spec = _mounted(cloud, bench, cloud.lease)

    with _begun(bench, spec) as agent:
        # It ended so long ago that no renewal is waited for any more.
        stale = _lease(azurite, cloud, -3600)
        assert send_leases(bench.run, {"train": stale}) is not None
        _let_go(bench)
        ended = agent.end()

    sentence = 'credential of "cloud": expired at'
    assert ended.code == 7, ended.err
    assert ended.err.count(sentence) == 1
    assert sentence in (bench.run / "logs" / "agent.log").read_text()
    assert sentence in bench.report()["inputs"][0]["reason"]


def test_renewed_leases_survive_the_agent(bench: Bench, cloud: Cloud, azurite: Azurite) -> None:
    """After kill -9 the next agent goes on with the leases that were sent last."""
    bench.script(_WAITS)
    short = _lease(azurite, cloud, 4)
    spec = cloud.output_to(bench)
    spec = replace(spec, outputs=(replace(spec.outputs[0], lease=short),))
    with _begun(bench, spec) as agent:
        (bench.run / "work/cloud/runs/1/x").write_text("kept")
        assert send_leases(bench.run, {"model": cloud.lease}) is not None
        agent.signal(signal.SIGKILL)
        agent.end()
    _await_end(short)

    ended = bench.resume().end()

    assert (ended.code, cloud.stored()) == (137, {"x": b"kept"}), ended.err


@contextmanager
def _begun(bench: Bench, spec: JobSpec) -> Iterator[Agent]:
    """An agent whose script has said "begun"; it is gone after the block."""
    work = bench.run / "work"
    work.mkdir(parents=True)
    os.mkfifo(work / "go")
    agent = bench.start(spec)
    try:
        agent.until(b"begun")
        yield agent
    finally:
        if agent.child.poll() is None:
            agent.kill()


def _let_go(bench: Bench) -> None:
    """Open the script's pipe; opening waits until the script has opened it."""
    os.close(os.open(bench.run / "work" / "go", os.O_WRONLY))


def _mounted(cloud: Cloud, bench: Bench, lease: LeaseSpec) -> JobSpec:
    spec = cloud.input_from(bench)
    given = replace(spec.inputs[0], mode=InputMode.MOUNT, lease=lease)
    return replace(spec, inputs=(given,), outputs=())


def _lease(azurite: Azurite, cloud: Cloud, seconds: float) -> LeaseSpec:
    ends = float(int(time.time() + seconds))
    token = generate_container_sas(
        azurite.account,
        cloud.definition.container,
        account_key=azurite.key.reveal(),
        permission=ContainerSasPermissions(read=True, write=True, delete=True, list=True),
        start=datetime.now(UTC) - timedelta(hours=1),
        expiry=datetime.fromtimestamp(ends, UTC),
    )
    return LeaseSpec(Sas(Secret(token)), ends)


def _await_end(lease: LeaseSpec) -> None:
    assert lease.expires_at is not None
    # The end of a credential is a moment; no event marks it.
    time.sleep(max(0.0, lease.expires_at - time.time()) + 0.1)


def _connected(path: str) -> socket.socket:
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(30)
    link.connect(path)
    return link


def _await(is_true: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < until
        time.sleep(0.02)  # no event tells that another process listens
