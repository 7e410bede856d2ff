"""Every case, asked of a mount and of a folder in memory: the answers are the same, call by call."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.frameworks.served import Served
from tests.mount.posix.conftest import Probe

MODULES = ("attributes", "content", "folders", "names", "opening", "renaming", "wandering")
CASES = "tests.mount.posix.cases"
# Local folders keep no metadata, so a mount of one has no links.
WITH_LINKS = {"symlink", "make"}


def cases() -> list[tuple[str, str]]:
    """Module and name of each: the functions that take nothing but the calls."""
    return [(module, name) for module in MODULES for name in named(module)]


def named(module: str) -> Iterator[str]:
    loaded = importlib.import_module(f"{CASES}.{module}")
    for name, function in inspect.getmembers(loaded, inspect.isfunction):
        is_own = function.__module__ == loaded.__name__
        if is_own and list(inspect.signature(function).parameters) == ["do"]:
            yield name


def uses_links(module: str, name: str) -> bool:
    function = getattr(importlib.import_module(f"{CASES}.{module}"), name)
    return not WITH_LINKS.isdisjoint(function.__code__.co_names)


@pytest.mark.parametrize(("module", "name"), cases())
def test_a_mount_answers_as_a_folder_in_memory(
    module: str, name: str, memory: Path, container_mount: Served, folder_mount: Served
) -> None:
    """Each call on a mounted container or folder has the result or the error it has on a tmpfs."""
    mounts = [container_mount.path, *([] if uses_links(module, name) else [folder_mount.path])]

    want, *answers = Probe(f"{CASES}.{module}").answers(name, memory, *mounts)

    assert not any(note.startswith("broken") for note in want), want[-1]
    for got in answers:
        assert got == want
