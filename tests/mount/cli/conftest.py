"""The command on a node of its own, called as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mount.cli import run
from tests.mount.daemon.node import Node


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Answer]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node whose environment is ours; the daemon that a command started is ended."""
    made = Node.make(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], node: Node) -> Call:
    """Run `datastores-agent` with these arguments."""

    def called(*arguments: object) -> Answer:
        capfd.readouterr()
        code = run([str(one) for one in arguments])
        return Answer(code, *capfd.readouterr())

    return called
