"""What a host notes of the versions that are opened."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mount.errors import MountError
from mount.fs.version_pages import Gap, lines
from mount.host.host import Host
from mount.host.kept import Kept
from tests.mount.host.bench import Bench, kill_worker, until


def _opened(host: Host, since: int) -> list[list[Any]]:
    text = b"".join(page for _, page in host.versions(since))
    return sorted(json.loads(line) for line in text.splitlines())


def _names(host: Host, since: int) -> set[str]:
    return {str(name) for name, _, _ in _opened(host, since)}


def _replace(path: Path, text: str) -> None:
    aside = path.with_name("aside")
    aside.write_text(text)
    aside.replace(path)


def test_what_was_opened_survives_a_killed_worker(bench: Bench) -> None:
    """After kill -9 between two opens both are noted, and the next worker goes on noting."""
    for number in range(6):
        (bench.store / f"a{number}").write_text("x" * number)
    host = Host(bench.start(read_only=True).folder)
    since = host.note_versions(bench.root / "versions")
    for number in range(3):
        (bench.at / f"a{number}").read_bytes()

    dead = kill_worker(host)
    until(lambda: host.status().worker != dead)
    for number in range(2, 5):
        (bench.at / f"a{number}").read_bytes()

    assert {(name, size) for name, size, _ in _opened(host, since)} == {
        (f"a{number}", number) for number in range(5)
    }
    host.release(20)


def test_both_versions_of_a_replaced_file_are_noted(bench: Bench) -> None:
    """A file that is replaced between two opens, and before a kill, is there in both versions."""
    (bench.store / "a").write_text("older")
    host = Host(bench.start(read_only=True).folder)
    since = host.note_versions(bench.root / "versions")
    assert (bench.at / "a").read_text() == "older"

    _replace(bench.store / "a", "newer text")
    host.refresh()
    until(lambda: (bench.at / "a").read_text() == "newer text")
    dead = kill_worker(host)
    until(lambda: host.status().worker != dead)

    opened = _opened(host, since)
    assert sorted({size for _, size, _ in opened}) == [5, 10]
    assert len({version for _, _, version in opened}) == 2
    host.release(20)


def test_a_later_section_has_what_was_opened_after_it(bench: Bench) -> None:
    """Whoever asks later hears of what is opened after him, also of what was noted before."""
    for name in "abc":
        (bench.store / name).write_text(name)
    host = Host(bench.start(read_only=True).folder)
    first = host.note_versions(bench.root / "versions")
    for name in "ab":
        (bench.at / name).read_text()
    second = host.note_versions(bench.root / "versions")
    for name in "bc":
        (bench.at / name).read_text()

    assert Counter(name for name, _, _ in _opened(host, first)) == {"a": 1, "b": 2, "c": 1}
    assert _names(host, second) == {"b", "c"}
    host.release(20)


def test_the_notes_outlive_the_host(bench: Bench) -> None:
    """Notes are files: they are there when the host is gone, and a later one goes on behind them."""
    (bench.store / "a").write_text("a")
    folder = bench.root / "versions"
    numbers = []
    for _ in range(2):
        host = Host(bench.start(read_only=True).folder)
        numbers.append(host.note_versions(folder))
        (bench.at / "a").read_text()
        assert _names(host, numbers[-1]) == {"a"}
        host.release(20)

    assert numbers == [1, 2]
    assert {one.suffix for one in folder.iterdir()} == {".gz"}


def test_a_worker_that_cannot_note_leaves_a_gap(bench: Bench) -> None:
    """Where a new worker cannot note, readers hear so, and later notes do not close the gap."""
    (bench.store / "a").write_text("a")
    folder = bench.root / "versions"
    host = Host(bench.start(read_only=True).folder)
    first = host.note_versions(folder)
    folder.rename(bench.root / "elsewhere")
    folder.write_text("in the way")
    dead = kill_worker(host)
    until(lambda: host.status().worker != dead)

    assert (bench.at / "a").read_text() == "a"
    with pytest.raises(MountError, match="nothing is noted here"):
        list(host.versions(first))
    folder.unlink()
    (bench.root / "elsewhere").rename(folder)
    second = host.note_versions(folder)

    assert b"null\n" in [text for _, text in host.versions(first)]
    assert [text for _, text in host.versions(second)] == [b""]
    with pytest.raises(Gap):
        list(lines(folder))
    host.release(20)


def test_nothing_is_noted_unasked(bench: Bench) -> None:
    """A mount notes nothing until somebody asks for it, and says so."""
    (bench.store / "a").write_text("a")
    host = Host(bench.start(read_only=True).folder)
    (bench.at / "a").read_text()

    with pytest.raises(MountError, match="nothing is noted here"):
        list(host.versions(0))
    (bench.root / "file").write_text("in the way")
    with pytest.raises(MountError, match="nothing can be noted"):
        host.note_versions(bench.root / "file")
    with pytest.raises(MountError, match="nothing is noted here"):
        list(host.versions(0))
    host.release(20)


def test_a_place_that_was_half_written_is_none() -> None:
    """A folder whose name was not written to its end is not taken for another folder."""
    listener = socket.socket(socket.AF_UNIX)
    kept = Kept(listener, -1, [])
    try:
        kept.keep_versions(Path("/run/a long name"))
        assert kept.versions() == Path("/run/a long name")
        kept.keep_versions(Path("/short"))
        assert kept.versions() == Path("/short")
        os.ftruncate(kept.versions_fd, 3)
        assert kept.versions() is None
    finally:
        kept.close()
