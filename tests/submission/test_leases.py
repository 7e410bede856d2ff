"""Leases of a running job are renewed before they end."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from datastores import RunConfiguration
from datastores.contract import LeaseSpec
from datastores.contract.control import status
from datastores.credentials.kinds import Anonymous
from datastores.history.status import Status
from datastores.registry.keys import KEY_VARIABLE
from datastores.submission.agent_process import agent_environment
from datastores.submission.leasing import renewal_moment
from tests.submission.bench import Bench, Signal

READS_TWICE = """
import os
print(open("images/a.txt").read())
with open(os.environ["TOLD"], "w") as pipe:
    pipe.write("read the first")
with open(os.environ["GO"]) as pipe:
    pipe.read()
print(open("images/b.txt").read())
"""


def test_a_mount_reads_on_after_its_first_lease_has_ended(bench: Bench, tmp_path: Path) -> None:
    """A file that is opened when the first signature has expired is read with a newer one."""
    told, go = Signal(tmp_path / "told"), tmp_path / "go"
    os.mkfifo(go)
    bench.store({"a.txt": b"first", "b.txt": b"second"})
    bench.script(READS_TWICE)
    config = RunConfiguration(script="train.py")
    config.environment_variables = {"TOLD": str(told.path), "GO": str(go)}
    config.data_references = {"images": bench.images.as_mount().to_config()}
    run_id = bench.submit(config, lease_seconds=20.0)
    told.wait()
    first = _lease_end(bench, run_id)

    threading.Event().wait(max(0.0, first + 1.0 - time.time()))
    second = _lease_end(bench, run_id)
    go.write_text("go")
    record = bench.finished(run_id)

    assert first < second
    assert (record.status, bench.output(run_id)) == (Status.COMPLETED, "first\nsecond\n")


def test_renewal_comes_with_the_first_lease_that_wants_it() -> None:
    """The earliest moment counts, never the past, and leases without an end want nothing."""
    leases = {
        name: LeaseSpec(Anonymous(), None, moment)
        for name, moment in (("a", 300.0), ("b", 200.0), ("c", None))
    }

    assert renewal_moment(leases, now=100.0) == 200.0
    assert renewal_moment(leases, now=500.0) == 501.0
    assert renewal_moment({"c": leases["c"]}, now=100.0) is None


def _lease_end(bench: Bench, run_id: str) -> float:
    found = status(bench.place(run_id).root)
    assert found is not None
    (reference,) = found.references
    assert reference.lease_expires_at is not None
    return reference.lease_expires_at


def test_the_key_of_the_vault_stays_with_the_control_plane() -> None:
    """An agent inherits the environment without it, and so does the script."""
    inherited = {"PATH": "/bin", KEY_VARIABLE: "canary", "DATASTORES_HOME": "/home/me"}

    assert agent_environment(inherited) == {"PATH": "/bin", "DATASTORES_HOME": "/home/me"}
