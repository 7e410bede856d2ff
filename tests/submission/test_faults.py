"""Runs in trouble: killed runners and agents, cancels in every phase, stores that are gone."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from datastores import Datastore, RunConfiguration, Workspace
from datastores.catalog.file_datastores import FileDatastore
from datastores.errors import DatastoresError, DefinitionRejected
from datastores.history.status import Status
from datastores.submission import cancel, look, resume, submit
from datastores.submission.performing import Desk
from datastores.submission.place import place_of
from tests.mount.agent.gate import Gate
from tests.servers.azurite import Azurite
from tests.servers.postgres import PostgresServer
from tests.submission.bench import (
    AGENT,
    PATIENCE_SECONDS,
    RUNNER,
    Bench,
    Signal,
    kill,
    process_of,
    wait_for_lock,
)

# Tells the test that it runs, then waits until the test lets it go on.
WAITING = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
os.makedirs("out", exist_ok=True)
open("out/part.txt", "w").write("written before")
with open(os.environ["TOLD"], "w") as pipe:
    pipe.write("running")
with open(os.environ["GO"]) as pipe:
    pipe.read()
print("went on")
open("out/whole.txt", "w").write("all of it")
"""


@pytest.fixture
def told(tmp_path: Path) -> Signal:
    return Signal(tmp_path / "told")


@pytest.fixture
def go(tmp_path: Path) -> Path:
    path = tmp_path / "go"
    os.mkfifo(path)
    return path


@pytest.fixture
def waiting(bench: Bench, told: Signal, go: Path) -> RunConfiguration:
    """A run that waits in the middle, with an output that is kept always."""
    bench.script(WAITING)
    made = RunConfiguration(script="train.py")
    made.environment_variables = {"TOLD": str(told.path), "GO": str(go)}
    made.data_references = {"out": bench.images.path("out/{run_id}").as_upload("out").to_config()}
    return made


def test_a_run_survives_its_submitter(bench: Bench, told: Signal, go: Path) -> None:
    """A process that submits and is killed leaves a run that completes."""
    bench.script(WAITING)
    code = f"""
import os, signal
from datastores import RunConfiguration, Workspace
from datastores.submission import submit
config = RunConfiguration(script="train.py")
config.environment_variables = {{"TOLD": {str(told.path)!r}, "GO": {str(go)!r}}}
submit(Workspace.get("demo"), "exp", config, run_id="orphan", source_directory={str(bench.source)!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    bench.begun.append("orphan")
    submitter = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    told.wait()

    go.write_text("go")

    assert submitter.returncode == -9
    assert bench.finished("orphan").status is Status.COMPLETED


def test_a_killed_runner_is_noticed_and_replaced(
    bench: Bench, waiting: RunConfiguration, told: Signal, go: Path
) -> None:
    """The run goes on without it, is NotResponding, and a resumed runner writes its end down."""
    run_id = bench.submit(waiting)
    told.wait()
    kill(bench.place(run_id), RUNNER)

    silent = look(bench.workspace, run_id).status
    resume(bench.workspace, run_id)
    go.write_text("go")
    record = bench.finished(run_id)

    assert (silent, record.status, record.exit_code) == (
        Status.NOT_RESPONDING,
        Status.COMPLETED,
        0,
    )
    assert bench.output(run_id) == "went on\n"
    assert bench.stored(f"out/{run_id}") == {
        "part.txt": b"written before",
        "whole.txt": b"all of it",
    }


def test_an_end_without_a_runner_is_written_down_by_the_next_look(
    bench: Bench, waiting: RunConfiguration, told: Signal, go: Path
) -> None:
    """When the agent finishes alone, asking for the status is enough to record it."""
    run_id = bench.submit(waiting)
    told.wait()
    place = bench.place(run_id)
    kill(place, RUNNER)
    go.write_text("go")
    wait_for_lock(place.root / "lock")

    record = look(bench.workspace, run_id)

    assert (record.status, record.exit_code) == (Status.COMPLETED, 0)
    assert record.report is not None
    assert record.report["is_settled"]


def test_a_killed_agent_is_followed_by_another(
    bench: Bench, waiting: RunConfiguration, told: Signal, go: Path
) -> None:
    """The script is not started again; what it wrote until then is in the store."""
    run_id = bench.submit(waiting)
    told.wait()
    kill(bench.place(run_id), AGENT)

    record = bench.finished(run_id)

    assert (record.status, record.exit_code) == (Status.FAILED, 137)
    assert record.error is not None
    assert "killed while the script ran" in record.error
    assert bench.stored(f"out/{run_id}") == {"part.txt": b"written before"}


def test_a_canceled_script_ends_and_its_output_is_kept(
    bench: Bench, waiting: RunConfiguration, told: Signal
) -> None:
    """Cancel while the script runs: Canceled, with what it wrote in the store."""
    run_id = bench.submit(waiting)
    told.wait()

    asked = cancel(bench.workspace, run_id)
    record = bench.finished(run_id)

    assert (asked.status, record.status, record.error) == (
        Status.CANCEL_REQUESTED,
        Status.CANCELED,
        None,
    )
    assert bench.stored(f"out/{run_id}") == {"part.txt": b"written before"}
    assert cancel(bench.workspace, run_id) == record


def test_a_cancel_from_another_machine_is_obeyed(
    bench: Bench, waiting: RunConfiguration, told: Signal
) -> None:
    """A request that is in the registry and nowhere else ends the run."""
    run_id = bench.submit(waiting)
    told.wait()

    bench.history.change(run_id, status=Status.CANCEL_REQUESTED)
    record = bench.finished(run_id)

    assert record.status is Status.CANCELED
    assert "went on" not in bench.output(run_id)


def test_a_cancel_during_staging_starts_no_script(
    bench: Bench, azurite: Azurite, tmp_path: Path
) -> None:
    """Cancel while an input does not arrive: Canceled, and the script has said nothing."""
    bench.script("print('started')")
    address = urllib.parse.urlsplit(azurite.endpoint)
    assert address.hostname is not None
    assert address.port is not None
    with Gate((address.hostname, address.port)) as gate:
        config = _reading_through(gate, bench, azurite)
        gate.close()
        run_id = bench.submit(config)
        assert gate.reached.wait(PATIENCE_SECONDS)

        cancel(bench.workspace, run_id)
        record = bench.finished(run_id)

    assert record.status is Status.CANCELED
    assert not bench.place(run_id).output_log.exists()


def test_a_store_that_does_not_answer_at_the_start_fails_the_run(
    bench: Bench, azurite: Azurite
) -> None:
    """Exit code 22 and the name of the input; the script has not started."""
    bench.script("print('started')")
    gone: Any = Datastore.register_azure_blob_container(
        bench.workspace,
        "gone",
        "container",
        azurite.account,
        account_key=azurite.key.reveal(),
        endpoint="http://127.0.0.1:9/devstoreaccount1",
        skip_validation=True,
    )
    config = RunConfiguration(script="train.py")
    config.data_references = {"far": gone.path("x", "far").as_download().to_config()}

    record = bench.run(config)

    assert (record.status, record.exit_code) == (Status.FAILED, 22)
    assert record.error is not None
    assert record.error.startswith('input "far" could not be provided')


def test_what_has_ended_well_cannot_be_resumed(bench: Bench) -> None:
    """The refusal says that nothing is left to do."""
    bench.script("print('x')")
    record = bench.run()

    with pytest.raises(DefinitionRejected, match="nothing is left to do"):
        resume(bench.workspace, record.run_id)


def _reading_through(gate: Gate, bench: Bench, azurite: Azurite) -> RunConfiguration:
    """A run whose input comes through the gate."""
    far = Datastore.register_azure_blob_container(
        bench.workspace,
        "far",
        azurite.container(),
        azurite.account,
        account_key=azurite.key.reveal(),
        endpoint=f"http://127.0.0.1:{gate.port}/{azurite.account}",
    )
    assert isinstance(far, FileDatastore)
    with far.opened() as store:
        store.write("a.txt", b"a")
    made = RunConfiguration(script="train.py")
    made.data_references = {"far": far.path("a.txt").as_download().to_config()}
    return made


def test_a_cancel_while_results_are_sent_is_bounded_and_resume_sends_them(
    bench: Bench, azurite: Azurite, told: Signal, go: Path
) -> None:
    """Canceled although the store is away; when it is back, resume brings the result there."""
    bench.script(WAITING)
    address = urllib.parse.urlsplit(azurite.endpoint)
    assert address.hostname is not None
    assert address.port is not None
    with Gate((address.hostname, address.port)) as gate:
        config = _reading_through(gate, bench, azurite)
        far: Any = bench.workspace.get_datastore("far")
        config.data_references = {"out": far.path("out").as_upload("out").to_config()}
        config.environment_variables = {"TOLD": str(told.path), "GO": str(go)}
        run_id = bench.submit(config)
        told.wait()
        gate.close()
        go.write_text("go")
        assert gate.reached.wait(PATIENCE_SECONDS)

        cancel(bench.workspace, run_id)
        record = bench.finished(run_id)
        gate.open()
        resume(bench.workspace, run_id)
        again = bench.finished(run_id)

        assert record.status is Status.CANCELED
        assert record.report is not None
        assert record.report["is_settled"] is False
        assert again.report is not None
        assert again.report["is_settled"] is True
        assert bench.stored("out", far) == {
            "part.txt": b"written before",
            "whole.txt": b"all of it",
        }
    assert bench.output(run_id) == "went on\n"


def test_an_agent_killed_while_data_arrives_is_followed_by_another(
    bench: Bench, azurite: Azurite
) -> None:
    """The run completes as if nothing had happened, and the script has run once."""
    bench.script("print(open('far/a.txt').read())")
    address = urllib.parse.urlsplit(azurite.endpoint)
    assert address.hostname is not None
    assert address.port is not None
    with Gate((address.hostname, address.port)) as gate:
        config = _reading_through(gate, bench, azurite)
        gate.close()
        run_id = bench.submit(config)
        assert gate.reached.wait(PATIENCE_SECONDS)

        kill(bench.place(run_id), AGENT)
        gate.open()
        record = bench.finished(run_id)

    assert (record.status, record.error, bench.output(run_id)) == (Status.COMPLETED, None, "a\n")


def test_a_run_that_is_canceled_before_its_agent_starts_never_starts_one(bench: Bench) -> None:
    """A mark that lies there already is obeyed first."""
    bench.script("print('never')")
    record = bench.run()
    place = bench.place(record.run_id)
    for left in ("journal", "report.json", "spec.json"):
        (place.root / left).unlink()
    place.cancel_mark.touch()

    ending = Desk.of(bench.workspace).perform(record.run_id, place)

    assert (ending.status, ending.report) == (Status.CANCELED, None)
    assert not (place.root / "journal").exists()


def test_a_registry_password_is_in_no_argument_no_variable_and_no_file(
    postgres: PostgresServer, told: Signal, go: Path, bench: Bench
) -> None:
    """With a workspace in PostgreSQL the runner gets the address through its pipe alone."""
    address = postgres.url(postgres.database(), password=True)
    shared = Workspace.create("shared", registry=address, show_output=False)
    bench.script(WAITING)
    config = RunConfiguration(script="train.py")
    config.environment_variables = {"TOLD": str(told.path), "GO": str(go)}
    run_id = submit(shared, "exp", config, source_directory=bench.source)
    told.wait()
    place = place_of(shared, run_id)
    seen = b"".join(_told_to(process_of(place, word)) for word in (RUNNER, AGENT))
    go.write_text("go")
    wait_for_lock(place.root / "runner.lock")

    files = b"".join(path.read_bytes() for path in place.root.rglob("*") if path.is_file())
    password = postgres.password.reveal()
    spellings = [password.encode(), urllib.parse.quote(password, safe="").encode()]
    assert look(shared, run_id).status is Status.COMPLETED
    assert [one for one in spellings if one in seen or one in files] == []
    shared.close()


def _told_to(pid: int) -> bytes:
    folder = Path("/proc") / str(pid)
    return (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()


def test_a_source_that_cannot_be_sent_leaves_nothing_behind(bench: Bench, azurite: Azurite) -> None:
    """When the store for the source is away, no run is recorded and its folder goes again."""
    bench.script("print('never')")
    Datastore.register_azure_blob_container(
        bench.workspace,
        "gone",
        "container",
        azurite.account,
        account_key=azurite.key.reveal(),
        endpoint="http://127.0.0.1:9/devstoreaccount1",
        skip_validation=True,
    )
    config = RunConfiguration(script="train.py")
    config.source_directory_data_store = "gone"

    with pytest.raises(DatastoresError) as failed:
        bench.submit(config, run_id="mine")

    assert failed.value.exit_code in (9, 10)
    assert bench.history.list() == []
    assert not bench.place("mine").root.exists()
