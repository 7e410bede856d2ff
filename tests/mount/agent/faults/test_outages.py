"""Stores and credentials that fail in the middle of a job, and a daemon that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from datastores.contract import InputMode, JobSpec, LeaseSpec, to_json
from datastores.contract.control import send_leases
from datastores.definitions import DataLakeGen1
from datastores.names import DatastoreName
from datastores.storage.contract import Patience
from datastores.storage.open import open_store
from datastores.storage.verbs import objects_below, read_bytes
from mount.agent.manifest import NAME
from mount.daemon.client import find_daemon
from mount.daemon.home import Home
from tests.mount.agent.cloud import Cloud
from tests.mount.agent.jobs import ROOT, Agent, Bench
from tests.servers.webhdfs import Gen1Server

_READS = """
    import os
    data = os.environ["AZUREML_DATAREFERENCE_train"]
    assert os.path.ismount(data) or os.path.ismount(os.path.realpath(data)), data
    print("begun", flush=True)
    os.open("go", os.O_RDONLY)
    print(open(data + "/a.txt").read(), flush=True)
"""


@pytest.fixture(autouse=True)
def _nothing_stays_mounted(tmp_path: Path) -> Iterator[None]:
    yield
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    assert [line for line in lines if str(tmp_path) in line] == []


def _mounted(cloud: Cloud, bench: Bench) -> JobSpec:
    work = bench.run / "work"
    work.mkdir(parents=True)
    os.mkfifo(work / "go")
    spec = cloud.input_from(bench)
    return replace(spec, inputs=(replace(spec.inputs[0], mode=InputMode.MOUNT),), outputs=())


def _let_go(bench: Bench) -> None:
    os.close(os.open(bench.run / "work" / "go", os.O_WRONLY))


def test_a_store_that_is_away_for_a_while(bench: Bench, cloud: Cloud) -> None:
    """A script that reads through a mount waits while the store does not answer, and goes on."""
    bench.script(_READS)
    agent = bench.start(_mounted(cloud, bench))
    agent.until(b"begun")
    cloud.gate.close()
    _let_go(bench)
    assert cloud.gate.reached.wait(60)

    cloud.gate.open()
    ended = agent.end()

    assert (ended.code, ended.out) == (0, b"alpha\n"), ended.err
    assert bench.report()["status"] == "Completed"


def test_a_credential_revoked_half_way(bench: Bench, gen1_server: Gen1Server) -> None:
    """A revoked credential fails the output by the store's name; new leases and a resume send it."""
    url = gen1_server.store()
    definition = DataLakeGen1(DatastoreName("lake"), url)
    first, second = gen1_server.token(), gen1_server.token()
    bench.script("""
        import os
        print("begun", flush=True)
        os.open("go", os.O_RDONLY)
        open(os.environ["AZUREML_DATAREFERENCE_model"] + "/x", "w").write("kept")
    """)
    work = bench.run / "work"
    work.mkdir(parents=True)
    os.mkfifo(work / "go")
    output = bench.output("model", "runs/1", definition=definition, lease=LeaseSpec(first))
    spec = bench.spec(inputs=(), outputs=(output,))
    agent = bench.start(spec)
    agent.until(b"begun")
    gen1_server.expire(first)
    _let_go(bench)
    ended = agent.end()
    report = bench.report()
    fresh = replace(spec, outputs=(replace(output, lease=LeaseSpec(second)),))

    again = bench.start(fresh).end()

    assert (ended.code, report["status"], report["is_settled"]) == (23, "Failed", False)
    assert 'credential of "lake"' in report["failures"][0]
    assert "resume the run to send them" in report["failures"][0]
    assert again.code == 0, again.err
    store = open_store(definition, second, Patience())
    found = {one.key: read_bytes(store, one.key) for one in objects_below(store, "runs/1")}
    store.close()
    assert found.pop(f"runs/1/{NAME}")
    assert found == {"runs/1/x": b"kept"}


class Daemon:
    """A daemon of its own for a test; it is gone after the block, and so are its mounts."""

    def __init__(self, root: Path) -> None:
        self.variables = {
            **os.environ,
            "DATASTORES_AGENT_STATE": str(root / "state"),
            "DATASTORES_SPOOL": str(root / "spool"),
            "DATASTORES_CACHE": str(root / "node_cache"),
            "PYTHONPATH": str(ROOT),
        }
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "mount.cli", "daemon"],
            env=self.variables,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        assert any(b"serving" in line for line in process.stderr)
        return process

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def again(self) -> None:
        self.process = self._started()

    def end(self) -> None:
        self.process.communicate(timeout=60)

    def stop_another(self) -> None:
        """End the daemon that answers in this one's place."""
        found = find_daemon(Home.at(Path(self.variables["DATASTORES_AGENT_STATE"])))
        assert found is not None
        found.daemon.stop(keep_mounts=False)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    if daemon.process.poll() is None:
        daemon.process.send_signal(signal.SIGTERM)
        daemon.end()


_BY_DAEMON = """
import sys
from pathlib import Path
from datastores.contract import from_json
from mount.agent.node_mounter import MountsBy, NodeMounter
from mount.agent.run import run
from mount.agent.settings import MountFallback, Settings
from mount.cli.voice import Voice
mounter = NodeMounter(MountsBy.DAEMON, Path(sys.argv[2]) / "spool")
with Voice():
    report = run(
        from_json(Path(sys.argv[1]).read_bytes()),
        Path(sys.argv[2]),
        Settings(MountFallback.ERROR, mounter),
    )
sys.exit(report.exit_code)
"""


def _agent_of(daemon: Daemon, bench: Bench, spec: JobSpec) -> Agent:
    (bench.root / "spec.json").write_text(to_json(spec))
    command = [sys.executable, "-c", _BY_DAEMON, str(bench.root / "spec.json"), str(bench.run)]
    return Agent(
        subprocess.Popen(
            command, env=daemon.variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    )


def test_a_daemon_killed_and_started_again(bench: Bench, cloud: Cloud, daemon: Daemon) -> None:
    """A job whose daemon is killed and comes back reads on, ends well, and leaves no mount."""
    bench.script(_READS)
    agent = _agent_of(daemon, bench, _mounted(cloud, bench))
    agent.until(b"begun")
    daemon.kill()
    daemon.again()
    _let_go(bench)

    ended = agent.end()

    assert (ended.code, ended.out) == (0, b"alpha\n"), ended.err
    report = bench.report()
    assert (report["status"], report["warnings"]) == ("Completed", [])
    assert report["inputs"][0]["how"] == "mount"


def test_a_daemon_killed_for_good(bench: Bench, cloud: Cloud, daemon: Daemon) -> None:
    """A job whose daemon was killed reads on, and at its end the mount is released all the same."""
    bench.script(_READS)
    agent = _agent_of(daemon, bench, _mounted(cloud, bench))
    agent.until(b"begun")
    daemon.kill()
    _let_go(bench)

    ended = agent.end()

    assert (ended.code, ended.out) == (0, b"alpha\n"), ended.err
    assert (bench.report()["status"], bench.report()["warnings"]) == ("Completed", [])
    # The release has started a daemon of its own.
    daemon.stop_another()


def test_leases_reach_mounts_of_the_daemon(bench: Bench, cloud: Cloud, daemon: Daemon) -> None:
    """New leases sent to the agent are passed on to the daemon, which the status shows."""
    bench.script(_READS)
    agent = _agent_of(daemon, bench, _mounted(cloud, bench))
    agent.until(b"begun")

    found = send_leases(bench.run, {"train": cloud.lease})
    _let_go(bench)
    ended = agent.end()

    assert found is not None
    assert found.references[0].lease_expires_at == cloud.lease.expires_at
    assert (ended.code, ended.out) == (0, b"alpha\n"), ended.err
