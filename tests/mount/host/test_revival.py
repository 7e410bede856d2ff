"""A file system whose process dies between two calls, again and again, beside a dictionary."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from mount.cache.contract import Cache
from mount.fs.chronicle import Chronicle
from mount.fs.revival import RevivableFileSystem
from mount.fs.spool import Spool
from mount.fs.view import MountView
from tests.mount.fs.conftest import Mounted
from tests.mount.fs.kernel import KernelInMiniature
from tests.mount.fs.test_against_model import BLOCK_BYTES, Machine
from tests.mount.host.mortal import bury, held_by_kernel

VIEW = MountView(block_bytes=BLOCK_BYTES, small_file_bytes=16, spool_bytes=16)


class MortalMachine(Machine):
    """The machine of the file system's own suite, with one more thing that may happen."""

    def __init__(self) -> None:
        super().__init__()
        self.mounted.fs.stop()
        self.notes = [os.memfd_create(name) for name in ("chronicle", "lookups")]
        self.spool = Spool.open(Path(self.temporary.name) / "mortal")
        self.fs = self.live()
        self.kernel = KernelInMiniature(self.fs)
        self.fs.start(self.kernel)
        self.mounted = Mounted(self.kernel, self.fs, self.store, self.spool)

    def live(self) -> RevivableFileSystem:
        cache: Cache = self.cache
        return RevivableFileSystem(self.store, cache, VIEW, self.spool, Chronicle.open(*self.notes))

    @rule()
    def die(self) -> None:
        """Nothing of the process is left but the notes, the spool and the cache."""
        bury(self.fs)
        held = held_by_kernel(opened for opened, _ in self.handles)
        self.fs = self.live()
        self.fs.revive(held)
        self.kernel.fs = self.mounted.fs = self.fs
        self.fs.start(self.kernel)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            for fd in self.notes:
                os.close(fd)


class MortalLocalMachine(MortalMachine):
    store_kind = "local"


@pytest.mark.parametrize("machine", [MortalMachine, MortalLocalMachine])
def test_dying_between_calls_changes_nothing(machine: type[MortalMachine]) -> None:
    """Any sequence of calls and deaths gives what a dictionary gives, and leaves nothing."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
