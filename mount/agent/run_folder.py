"""The folder of one run on this node, and the one agent that may work in it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from datastores.contract import JobSpec, from_json, to_json
from datastores.value import Value
from mount.agent import lease_keep
from mount.errors import SpecRejected


class RunFolder(Value):
    """Where everything of one run is."""

    root: Path

    @property
    def work(self) -> Path:
        """The script's working folder."""
        return self.root / "work"

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def spec(self) -> Path:
        return self.root / "spec.json"

    @property
    def report(self) -> Path:
        return self.root / "report.json"

    @property
    def script_log(self) -> Path:
        """What the script said, both streams as they came."""
        return self.root / "logs" / "output.log"

    @property
    def agent_log(self) -> Path:
        return self.root / "logs" / "agent.log"

    @property
    def inventories(self) -> Path:
        """Lists of the files that inputs were, with their versions."""
        return self.root / "logs" / "inputs"

    def opened(self, index: int) -> Path:
        """Which versions of one reference were opened through its mount, page by page."""
        return self.root / "opened" / str(index)

    def transfers(self, index: int) -> Path:
        """What the transfer engine remembers of one reference; names may be any text."""
        return self.root / "transfers" / str(index)


def open_folder(root: Path) -> RunFolder:
    """The folder of a run, made if need be, at its real path."""
    try:
        for folder in (root, root / "work", root / "logs", root / "transfers"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecRejected(
            f'"{root}" cannot be the folder of a run: {error.strerror}; choose another with --folder'
        ) from error
    return RunFolder(root.resolve())


def take(folder: RunFolder) -> int:
    """A lock on the run, which ends with the descriptor and hence with the process."""
    fd = os.open(folder.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise SpecRejected(
            f'another agent works in "{folder.root}"; wait for it, or choose another folder'
        ) from error
    return fd


def save_spec(folder: RunFolder, spec: JobSpec) -> None:
    """Remember the spec for a restart: without its leases here, those in memory only."""
    lease_keep.keep(folder.root, spec)
    fresh = folder.spec.with_suffix(".new")
    fresh.write_text(to_json(lease_keep.without_leases(spec)), encoding="utf-8")
    fresh.replace(folder.spec)


def load_spec(folder: RunFolder) -> JobSpec:
    """The spec of a run that was started here, with its leases as far as they are left."""
    try:
        text = folder.spec.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecRejected(
            f'"{folder.root}" is not the folder of a run: it has no spec.json; '
            f"name the folder that was given to run"
        ) from error
    return lease_keep.with_leases(folder.root, from_json(text))
