"""What the tests of submissions share: a store, scripts, and waiting without polling."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import textwrap
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datastores import Datastore, RunConfiguration, Workspace
from datastores.catalog.file_datastores import FileDatastore
from datastores.history.records import RunRecord
from datastores.history.run_history import RunHistory
from datastores.storage.verbs import objects_below, read_bytes
from datastores.submission import cancel, look, submit
from datastores.submission.place import RunPlace, place_of
from tests.servers.azurite import Azurite

RUNNER, AGENT = "datastores.submission.runner", "run"
# A machine that is busy with other tests is slow; a defect is slower.
PATIENCE_SECONDS = 90.0


@dataclass
class Bench:
    """One workspace, one container, one source folder."""

    workspace: Workspace
    images: FileDatastore
    source: Path
    begun: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, workspace: Workspace, azurite: Azurite, source: Path) -> Bench:
        source.mkdir()
        return cls(workspace, register(workspace, azurite, "images"), source)

    @property
    def history(self) -> RunHistory:
        return RunHistory(self.workspace.registry, self.workspace.name)

    def script(self, text: str, name: str = "train.py") -> str:
        (self.source / name).write_text(textwrap.dedent(text))
        return name

    def store(self, files: dict[str, bytes]) -> None:
        """Put these into the container."""
        with self.images.opened() as store:
            for key, data in files.items():
                store.write(key, data)

    def stored(self, place: str, datastore: Any = None) -> dict[str, bytes]:
        """What is below a place, without manifests."""
        with (datastore or self.images).opened() as store:
            return {
                info.key.removeprefix(place + "/"): read_bytes(store, info.key)
                for info in list(objects_below(store, place))
                if not info.key.endswith("_manifest.json")
            }

    def submit(self, config: Any = None, **settings: Any) -> str:
        """Start a run; `train.py` of the source folder where nothing is said."""
        if config is None:
            config = RunConfiguration(script="train.py")
        if isinstance(config, RunConfiguration):
            settings.setdefault("source_directory", self.source)
        run_id = submit(self.workspace, "exp", config, **settings)
        self.begun.append(run_id)
        return run_id

    def place(self, run_id: str) -> RunPlace:
        return place_of(self.workspace, run_id)

    def finished(self, run_id: str) -> RunRecord:
        """The run once its runner has left."""
        wait_for_lock(self.place(run_id).root / "runner.lock")
        return look(self.workspace, run_id)

    def run(self, config: Any = None, **settings: Any) -> RunRecord:
        return self.finished(self.submit(config, **settings))

    def output(self, run_id: str) -> str:
        return self.place(run_id).output_log.read_text()

    def end_all(self) -> None:
        """Leave no run behind, whatever a test did."""
        for run_id in self.begun:
            if not look(self.workspace, run_id).is_finished:
                cancel(self.workspace, run_id)
                wait_for_lock(self.place(run_id).root / "runner.lock")


class Signal:
    """A pipe by which a script tells that it has come somewhere."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    def wait(self) -> str:
        """What the script wrote, once it has."""
        return str(within(self.path.read_text))


def register(workspace: Workspace, azurite: Azurite, name: str) -> FileDatastore:
    """A fresh container under this name."""
    made = Datastore.register_azure_blob_container(
        workspace,
        name,
        azurite.container(),
        azurite.account,
        account_key=azurite.key.reveal(),
        endpoint=azurite.endpoint,
    )
    assert isinstance(made, FileDatastore)
    return made


def wait_for_lock(path: Path) -> None:
    """Until nobody holds this lock."""

    def take() -> None:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)

    within(take)


def within(act: Any, seconds: float = PATIENCE_SECONDS) -> Any:
    """What a blocking call gives, or an error when it takes too long."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(act()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it took too long"
    assert found, "it raised"
    return found[0]


def process_of(place: RunPlace, word: str) -> int:
    """The process of a run whose command line has this word: its runner, or its agent."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (
                (folder / "cmdline").read_bytes().decode().split("\0")
                if folder.name.isdigit()
                else []
            )
            if str(place.root) in words and word in words:
                return int(folder.name)
    raise AssertionError(f"no {word} works in {place.root}")


def kill(place: RunPlace, word: str) -> None:
    """End a process of a run as a full machine would, and wait until it is gone."""
    pid = process_of(place, word)
    fd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        # A process that has ended makes its descriptor readable.
        within(lambda: select.select([fd], [], []))
    finally:
        os.close(fd)
