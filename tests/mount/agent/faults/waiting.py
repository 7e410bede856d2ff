"""Waiting for what another process does."""

from __future__ import annotations

import time

from tests.mount.agent.jobs import Bench


def await_line(bench: Bench, line: dict[str, object]) -> None:
    """Until the agent's journal has this line."""
    until = time.monotonic() + 60
    while not ((bench.run / "journal").exists() and line in bench.journal()):
        assert time.monotonic() < until, f"no {line} in the journal"
        time.sleep(0.01)  # no event tells that another process has written
