"""What the command says without a node: help, completion, the unit, options, the cache."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from mount.cache import CacheKey, NodeCache
from mount.cli import cli
from mount.cli.options import Permissions, Size
from tests.mount.cli.conftest import Call


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_every_command_teaches(call: Call, name: str) -> None:
    """Each command has a help whose first sentence is one, and ends well."""
    shown = call(name, "--help")

    assert shown.code == 0
    assert re.search(r"^  [A-Z].*", shown.out, re.MULTILINE)


def test_the_top_lists_every_command_and_every_code(call: Call) -> None:
    """The top's help has examples, all commands, and the exit codes of mounts."""
    shown = call("--help").out

    assert "datastores-agent mount images:train /data/train" in shown
    assert all(f"\n  {name} " in shown for name in cli.list_commands(click.Context(cli)))
    assert "25 mounting is refused, 26 no daemon answers" in " ".join(shown.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(call: Call, shell: str) -> None:
    """Each shell gets a script for this command."""
    script = call("completion", shell).out

    assert "datastores-agent" in script
    assert "_DATASTORES_AGENT_COMPLETE" in script


def test_completion_knows_commands(call: Call) -> None:
    """The shell is told commands that begin as typed."""
    from click.shell_completion import BashComplete

    found = BashComplete(cli, {}, "datastores-agent", "_DATASTORES_AGENT_COMPLETE")

    assert [one.value for one in found.get_completions([], "un")] == ["unmount"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("10GiB", 10 << 30), ("500MB", 500_000_000), ("1.5K", 1500), ("7", 7), ("2 TiB", 2 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    """Sizes are read as people write them."""
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize(("type_", "text"), [(Size(), "ten"), (Size(), "-1"), (Permissions(), "8")])
def test_values_that_are_none(type_: Size | Permissions, text: str) -> None:
    """What is no size, or no permissions, is refused with an example."""
    with pytest.raises(click.BadParameter, match="write for instance"):
        type_.convert(text, None, None)


def test_the_cache_is_shown_cleared_and_verified(call: Call, tmp_path: Path) -> None:
    """Status counts, --dry-run keeps, clear frees, and verify names what is damaged."""
    folder = tmp_path / "files"
    cache = NodeCache.open(folder, quota_bytes=1 << 30, reserve_bytes=0)
    for name in ("a", "b"):
        cache.put(CacheKey("store", name, "v1", 5), b"alpha").close()
    cache.close()
    data = next(path for path in folder.glob("v*/files/*/*") if path.suffix != ".head")
    data.chmod(0o600)
    data.write_bytes(b"omega")

    status = call("cache", "status", "--cache", folder, "--json").json
    planned = call("cache", "clear", "--dry-run", "--cache", folder, "--json").json
    verified = call("cache", "verify", "--cache", folder, "--json")
    cleared = call("cache", "clear", "--yes", "--cache", folder, "--json")

    assert (status["files"], planned["files"]) == (2, 2)
    assert (verified.code, len(verified.json["damaged"])) == (12, 1)
    assert (cleared.code, cleared.json["freed_bytes"] > 0) == (0, True)
    assert call("cache", "status", "--cache", folder, "--json").json["files"] == 0


def test_a_cache_that_is_not_there(call: Call, tmp_path: Path) -> None:
    """Looking at a cache does not make one."""
    refused = call("cache", "status", "--cache", tmp_path / "none")

    assert (refused.code, (tmp_path / "none").exists()) == (24, False)
