"""What a peer is: a command that moves a folder out of or into a container."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.address import Address
from benchmarks.tools import Tools


class Direction(enum.Enum):
    """Which way the bytes go."""

    DOWNLOAD = "download"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Task:
    """One transfer: the whole container into an empty folder, or a folder into an empty container."""

    direction: Direction
    address: Address
    # Downloads: the folder that must end up like `origin`. Uploads: the folder that is sent.
    folder: Path
    # Downloads: the files behind the endpoint, for the floor only. Uploads: where the floor writes.
    floor: Path
    scratch: Path
    tools: Tools


@dataclass(frozen=True, slots=True)
class Command:
    """What is run, as a process of its own."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Peer(Protocol):
    """One program, with the settings that serve it best on this work."""

    @property
    def name(self) -> str:
        """The word for it on command lines and in results."""

    @property
    def settings(self) -> str:
        """How it was set up, for the report."""

    @property
    def uses_network(self) -> bool:
        """Whether its bytes must show up at the endpoint."""

    def version_command(self, tools: Tools) -> Command:
        """Prints its version in the first line."""

    def command(self, task: Task) -> Command:
        """Does the task; exit code 0 means that it believes so."""


def python_command(tools: Tools, module: str, task: Task) -> Command:
    """Runs one of the small programs beside this file."""
    address = task.address
    arguments = (task.direction.value, str(address.port), address.container, str(task.folder))
    return Command([str(tools.python), "-m", f"benchmarks.peers.{module}", *arguments])


def parse_arguments(arguments: Sequence[str]) -> tuple[Direction, Address, Path]:
    """What `python_command` wrote."""
    direction, port, container, folder = arguments
    return Direction(direction), Address(int(port), container), Path(folder)


def python_version(tools: Tools, package: str) -> Command:
    """Prints the version of a library."""
    code = f"import importlib.metadata as m; print('{package}', m.version('{package}'))"
    return Command([str(tools.python), "-c", code])


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))
