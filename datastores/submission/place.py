"""The folder of a submitted run, as the control plane uses it.

The agent's files (`spec.json`, `report.json`, `logs/output.log`, `lock`) are described in its own
README; beside them lie the order, the runner's lock and what the script reports.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datastores.catalog.home import embedded_folder
from datastores.errors import ConfigRejected, DefinitionRejected
from datastores.names import WorkspaceName
from datastores.value import Value

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace


class RunPlace(Value):
    """Where everything of one run is on this machine."""

    root: Path

    @property
    def order(self) -> Path:
        """What was submitted, without a secret."""
        return self.root / "order.json"

    @property
    def events(self) -> Path:
        """What the script reports of itself."""
        return self.root / "events.jsonl"

    @property
    def report(self) -> Path:
        """What the agent reports at its end."""
        return self.root / "report.json"

    @property
    def output_log(self) -> Path:
        """What the script said."""
        return self.root / "logs" / "output.log"

    @property
    def agent_log(self) -> Path:
        """What the agent said."""
        return self.root / "logs" / "agent.log"

    @property
    def runner_log(self) -> Path:
        """What the runner said."""
        return self.root / "logs" / "runner.log"

    @property
    def cancel_mark(self) -> Path:
        """Is there when somebody asked for the end."""
        return self.root / "cancel"

    def make(self) -> None:
        """The folder, for this user alone; one that is there already is refused."""
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            self.root.mkdir(mode=0o700)
            (self.root / "logs").mkdir()
        except FileExistsError as error:
            raise DefinitionRejected(
                self.root.name, f'its folder "{self.root}" is there already; choose another run id'
            ) from error
        except OSError as error:
            raise ConfigRejected(
                str(self.root), f"it cannot be made ({error.strerror}); choose another folder"
            ) from error

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """The folder, which goes again when what is done in the block fails."""
        self.make()
        try:
            yield
        except BaseException:
            shutil.rmtree(self.root, ignore_errors=True)
            raise

    def save_order(self, order: Mapping[str, Any]) -> None:
        """Keep what was submitted, for the runner and those that come after it."""
        fresh = self.order.with_suffix(".new")
        fresh.write_text(json.dumps(order, ensure_ascii=False, indent=1), encoding="utf-8")
        fresh.replace(self.order)

    def load_order(self) -> dict[str, Any]:
        """What was submitted."""
        try:
            found: dict[str, Any] = json.loads(self.order.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigRejected(
                str(self.root),
                f"it is not the folder of a submitted run ({error.strerror}); "
                f"look for the run on the machine that it was submitted on",
            ) from error
        return found

    def load_report(self) -> dict[str, Any] | None:
        """The agent's report, if it came so far."""
        try:
            found: dict[str, Any] = json.loads(self.report.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found

    def has_begun(self) -> bool:
        """Whether an agent was ever at work here."""
        return (self.root / "journal").exists()

    def take(self) -> int | None:
        """The runner's lock, which ends with its last holder; None where somebody has it."""
        return _locked(self.root / "runner.lock")

    def agent_is_gone(self) -> bool:
        """Whether no agent works here."""
        fd = _locked(self.root / "lock")
        if fd is None:
            return False
        os.close(fd)
        return True

    def is_watched(self) -> bool:
        """Whether a runner looks after the run."""
        fd = self.take()
        if fd is None:
            return True
        os.close(fd)
        return False


def place_of(workspace: Workspace, run_id: str) -> RunPlace:
    """Where a run of this workspace lies on this machine."""
    name = WorkspaceName.parse(workspace.name)
    folder = embedded_folder(name, workspace.registry_place).absolute()
    return RunPlace(folder / "runs" / run_id)


def registry_address(workspace: Workspace) -> str:
    """Where the workspace's records are, for a process that stands in another folder."""
    if workspace.is_embedded:
        return str(Path(workspace.registry_place).absolute())
    return workspace.registry_place


def _locked(path: Path) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        # The whole folder was removed.
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
