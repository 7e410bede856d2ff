"""Programs of every day: git, tar, rsync, cp, zip, and Python's own ways to write files."""

from __future__ import annotations

import filecmp
import multiprocessing
import os
import random
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from tests.mount.frameworks.working import Places, names

SOMEBODY = {
    "GIT_AUTHOR_NAME": "somebody",
    "GIT_AUTHOR_EMAIL": "some@body",
    "GIT_COMMITTER_NAME": "somebody",
    "GIT_COMMITTER_EMAIL": "some@body",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a program says; it has to succeed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **SOMEBODY},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout)
    return done.stdout


def sample(folder: Path) -> Path:
    """A tree with modes, times, a link, an empty folder and a file of several blocks."""
    chance = random.Random(1)
    (folder / "d" / "e").mkdir(parents=True)
    (folder / "empty").mkdir()
    for number in range(12):
        (folder / "d" / f"f{number}").write_bytes(chance.randbytes(number * 700))
        os.utime(folder / "d" / f"f{number}", ns=(0, 10**18 + number * 10**9 + 7))
    (folder / "d" / "e" / "script").write_text("#!/bin/sh\n")
    (folder / "d" / "e" / "script").chmod(0o751)
    (folder / "big").write_bytes(chance.randbytes(8_500_000))
    (folder / "link").symlink_to("d/f3")
    for place in ("d/e", "d", "empty"):
        os.utime(folder / place, ns=(0, 10**18))
    return folder


def shape(folder: Path, *, modes: bool = True, times: bool = True) -> list[tuple[object, ...]]:
    """Every name below with kind, mode, time to the second, size and link."""
    lines: list[tuple[object, ...]] = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        is_file = path.is_file() and not path.is_symlink()
        lines.append(
            (
                str(path.relative_to(folder)),
                oct(status.st_mode) if modes else oct(status.st_mode >> 12),
                status.st_mtime_ns // 10**9 if times and is_file else None,
                path.read_bytes() if is_file else None,
                str(path.readlink()) if path.is_symlink() else None,
            )
        )
    return lines


def git_repository(places: Places) -> None:
    """init, commit, clone onto and from the mount, push, gc, and a check of every object."""
    (places.here / "repo").mkdir()
    repo = places.here / "repo"
    run("git", "init", "-q", "-b", "main", cwd=repo)
    for number in range(4):
        (repo / f"f{number}").write_text(f"{number}\n")
    (repo / "folder").mkdir()
    (repo / "folder" / "g").write_text("g\n")
    run("git", "add", ".", cwd=repo)
    run("git", "commit", "-qm", "first", cwd=repo)
    with (repo / "f1").open("a") as file:
        file.write("more\n")
    run("git", "commit", "-qam", "second", cwd=repo)
    run("git", "clone", "-q", repo, places.scratch / "outside")
    run("git", "clone", "-q", places.scratch / "outside", places.here / "inside")
    inside = places.here / "inside"
    run("git", "checkout", "-qb", "branch", cwd=inside)
    run("git", "rm", "-q", "f2", cwd=inside)
    run("git", "commit", "-qm", "third", cwd=inside)
    run("git", "push", "-q", repo, "branch", cwd=inside)
    run("git", "gc", "-q", cwd=repo)
    run("git", "fsck", "--full", "--strict", cwd=repo)
    assert run("git", "status", "--short", cwd=repo) == ""
    there = places.there / "repo"
    log = run("git", "-c", "safe.directory=*", "log", "--format=%s", "branch", cwd=there)
    assert log.split() == ["third", "second", "first"]
    run("git", "-c", "safe.directory=*", "fsck", "--full", "--strict", cwd=there)


def tar_archives(places: Places) -> None:
    """An archive is made on the mount, and unpacked there with times, modes and links."""
    source = sample(places.scratch / "source")
    run("tar", "cf", places.here / "a.tar", "-C", source, ".")
    (places.here / "unpacked").mkdir()
    run("tar", "xpf", places.here / "a.tar", "-C", places.here / "unpacked")
    run("tar", "czf", places.here / "b.tgz", "-C", places.here / "unpacked", ".")
    assert shape(places.here / "unpacked") == shape(source)
    assert shape(places.there / "unpacked", modes=False) == shape(source, modes=False)
    (places.scratch / "again").mkdir()
    run("tar", "xpf", places.there / "b.tgz", "-C", places.scratch / "again")
    assert shape(places.scratch / "again") == shape(source)


def rsync_twice(places: Places) -> None:
    """rsync -a copies all there is; the second time it transfers nothing."""
    source = sample(places.scratch / "source")
    run("rsync", "-a", f"{source}/", places.here / "copy")
    assert shape(places.here / "copy") == shape(source)
    assert run("rsync", "-ai", f"{source}/", places.here / "copy") == ""
    assert shape(places.there / "copy", modes=False, times=False) == shape(
        source, modes=False, times=False
    )
    assert ">f" not in run("rsync", "-ai", "--size-only", f"{source}/", places.there / "copy")
    (source / "d" / "f1").write_text("changed")
    (source / "d" / "f2").unlink()
    changes = run("rsync", "-ai", "--delete", f"{source}/", places.here / "copy").split("\n")
    assert sorted(line.split()[-1] for line in changes if line and ".d" not in line) == [
        "d/f1",
        "d/f2",
    ]


def copies(places: Places) -> None:
    """cp -a, cp -r, shutil.copytree, mv and rm -r."""
    source = sample(places.scratch / "source")
    run("cp", "-a", source, places.here / "a")
    assert shape(places.here / "a") == shape(source)
    assert shape(places.there / "a", modes=False) == shape(source, modes=False)
    shutil.copytree(places.here / "a", places.here / "b", symlinks=True)
    assert shape(places.here / "b") == shape(source)
    run("mv", places.here / "b", places.here / "moved")
    # copytree sets times after closing: those are shown, not stored.
    want = shape(source, modes=False, times=False)
    assert shape(places.there / "moved", modes=False, times=False) == want
    run("cp", "-r", places.there / "moved", places.scratch / "home")
    assert not filecmp.dircmp(source, places.scratch / "home").diff_files
    run("rm", "-r", places.here / "moved", places.here / "a")
    assert names(places.here) == []


def safe_replacement(places: Places) -> None:
    """tempfile beside the target, fsync, os.replace: readers elsewhere see a whole file."""
    target = places.here / "config.json"
    for number in range(20):
        with tempfile.NamedTemporaryFile(dir=places.here, delete=False) as file:
            file.write(b"%d" % number * 1000)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(target)
        assert target.read_bytes() == b"%d" % number * 1000
    with tempfile.TemporaryDirectory(dir=places.here) as folder:
        (Path(folder) / "f").write_text("x")
    assert (places.there / "config.json").read_bytes() == b"19" * 1000
    assert names(places.there) == ["config.json"]


def zip_archives(places: Places) -> None:
    """zipfile writes, appends and reads an archive on the mount."""
    with zipfile.ZipFile(places.here / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(f"f{number}", b"%d" % number * 1000)
    with zipfile.ZipFile(places.here / "a.zip", "a") as archive:
        archive.writestr("late", b"late")
    with zipfile.ZipFile(places.there / "a.zip") as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 21
        archive.extractall(places.here / "out")
    assert (places.there / "out" / "late").read_bytes() == b"late"


def many_processes(places: Places) -> None:
    """Eight processes write eight files each, and all read what the others wrote."""
    (places.here / "out").mkdir()
    with multiprocessing.Pool(8) as pool:
        pool.starmap(write_one, [(places.here / "out", number) for number in range(64)])
        found = pool.map(Path.read_bytes, sorted((places.there / "out").iterdir()))
    assert sorted(found) == sorted(b"%d" % number * 5000 for number in range(64))


def write_one(folder: Path, number: int) -> None:
    (folder / f"{number}").write_bytes(b"%d" % number * 5000)
