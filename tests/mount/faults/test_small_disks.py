"""Disks that are full, broken or meddled with under a mount: slower, never wrong."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from mount.cache.node_cache import NodeCache
from tests.mount.faults.conftest import (
    MIB,
    PATIENT,
    QUOTA_BYTES,
    MakeScene,
    Scene,
    body_of,
    listed,
    opened,
    read_all,
    small_disk,
    within,
    write_all,
)
from tests.servers.fault_proxy import Kind

KIB = 1024
BODIES = {
    "empty": b"",
    "small": body_of(5_000),
    "medium": body_of(900_000, seed=3),
    "large": body_of(6 * MIB, seed=4),
}


def fill(scene: Scene) -> None:
    for name, body in BODIES.items():
        scene.put(f"d/{name}", body)


def check(scene: Scene) -> None:
    assert {name: read_all(scene.at / "d" / name) for name in BODIES} == BODIES


@pytest.mark.parametrize("pages", [1, 2, 3, 5, 8, 13, 40, 100, 250, 600, 1300, 1700, 2100])
def test_every_size_of_the_caches_disk(make_scene: MakeScene, tmp_path: Path, pages: int) -> None:
    """However small the disk of the cache is, files are read right, twice, and written right."""
    with small_disk(tmp_path / "disk", f"size={pages * 4096}") as disk:
        try:
            scene = make_scene(PATIENT, cache_at=disk / "cache")
        except OSError:
            assert pages < 8  # not even its folders fit, and whoever opens it is told
            return
        fill(scene)

        with within(60.0):
            check(scene)
            check(scene)
            save(scene, "new", BODIES["large"])

        assert scene.stored("new") == BODIES["large"]
        assert read_all(scene.at / "new") == BODIES["large"]
        scene.unmount()


@pytest.mark.parametrize("pages", [1, 4, 100, 600, 1200, 1900])
def test_every_size_of_the_spools_disk(make_scene: MakeScene, tmp_path: Path, pages: int) -> None:
    """A file that does not fit into the spool is ENOSPC for its writer, and no part of it is stored."""
    with small_disk(tmp_path / "disk", f"size={pages * 4096}") as disk:
        scene = make_scene(PATIENT, spool_at=disk / "spool")
        fill(scene)
        results = {}
        for name, body in BODIES.items():
            try:
                save(scene, name, body)
                results[name] = 0
            except OSError as error:
                results[name] = error.errno or -1

        check(scene)
        for name, number in results.items():
            if number:
                assert number == errno.ENOSPC
                with suppress(FileNotFoundError):
                    assert scene.stored(name) != BODIES[name][:1]
            else:
                assert scene.stored(name) == BODIES[name]
        assert pages < 1900 or results == dict.fromkeys(BODIES, 0)
        scene.unmount()


def test_a_file_larger_than_the_spool_is_streamed(make_scene: MakeScene, tmp_path: Path) -> None:
    """A file written in order may be larger than the spool's disk when blocks leave in time."""
    body = body_of(40 * MIB, seed=5)
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        scene = make_scene(PATIENT, spool_at=disk / "spool", block_bytes=MIB, spool_bytes=4 * MIB)

        with within(60.0):
            save(scene, "x", body)

        assert scene.stored("x") == body
        scene.unmount()


@pytest.mark.parametrize("state", ["read-only", "gone", "no longer a folder"])
def test_a_cache_folder_that_fails(make_scene: MakeScene, tmp_path: Path, state: str) -> None:
    """A cache whose disk turns read-only, or whose folder goes, costs time and nothing else."""
    with small_disk(tmp_path / "disk", "size=64m") as disk:
        scene = make_scene(PATIENT, cache_at=disk / "cache")
        fill(scene)
        read_all(scene.at / "d/small")
        match state:
            case "read-only":
                subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=False)
            case "gone":
                subprocess.run(["rm", "-rf", str(disk / "cache")], check=True)
            case _:
                (disk / "cache").rename(disk / "elsewhere")
                (disk / "cache").write_bytes(b"")

        with within(60.0):
            check(scene)
            save(scene, "new", BODIES["medium"])

        assert scene.stored("new") == BODIES["medium"]
        assert read_all(scene.at / "new") == BODIES["medium"]
        scene.unmount()


@pytest.mark.parametrize("deed", ["changed", "cut", "lengthened", "removed", "emptied folder"])
@pytest.mark.parametrize("name", ["small", "medium", "large"])
def test_cached_files_that_somebody_meddles_with(scene: Scene, deed: str, name: str) -> None:
    """A cached file that was changed, cut or removed behind our back is fetched again."""
    fill(scene)
    read_all(scene.at / "d" / name)
    assert read_all(scene.at / "d" / name) == BODIES[name]
    meddle(scene, deed, len(BODIES[name]))

    got = read_all(scene.at / "d" / name)

    assert got == BODIES[name]


def meddle(scene: Scene, deed: str, size: int) -> None:
    cached = [path for path in files_of(scene) if path.stat().st_size == size]
    assert cached
    for path in cached:
        match deed:
            case "changed":
                with path.open("r+b") as file:
                    file.seek(size // 2)
                    file.write(b"\xff\xfe")
            case "cut":
                os.truncate(path, size // 2)
            case "lengthened":
                os.truncate(path, size + 1)
            case "removed":
                path.unlink()
            case _:
                subprocess.run(["rm", "-rf", str(path.parent)], check=True)


def files_of(scene: Scene) -> list[Path]:
    top = scene.at.with_name(f"{scene.at.name}-cache") / "v1"
    return [
        path
        for folder in ("files", "partial")
        for path in (top / folder).rglob("*")
        if path.is_file() and not path.suffix
    ]


def test_a_cached_file_cut_while_it_is_open(make_scene: MakeScene) -> None:
    """Where the daemon reads the cached file itself, the lost rest comes from the store."""
    scene = make_scene(PATIENT)
    fill(scene)
    read_all(scene.at / "d/medium")
    with opened(scene.at / "d/medium", os.O_RDWR) as fd:
        for path in files_of(scene):
            os.truncate(path, 100)
        os.pwrite(fd, b"new", 0)

    want = b"new" + BODIES["medium"][3:]
    assert (scene.stored("d/medium"), read_all(scene.at / "d/medium")) == (want, want)


def test_two_caches_on_one_folder(make_scene: MakeScene, tmp_path: Path) -> None:
    """Two mounts, each with a cache object on the same folder, read right and leave it sound."""
    first = make_scene(PATIENT, cache_at=tmp_path / "shared")
    fill(first)
    container = first.store.identity.rpartition("/")[2]
    second = make_scene(PATIENT, cache_at=tmp_path / "shared", container=container)

    check(first)
    check(second)

    assert first.cache.verify().damaged == ()
    assert second.cache.status().files == first.cache.status().files > 0


def test_many_processes_fill_a_tiny_cache(tmp_path: Path) -> None:
    """Four processes that put and evict at once in one small cache never serve a wrong byte."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from mount.cache.node_cache import NodeCache\n"
        "from mount.cache.contract import CacheKey, NoRoom\n"
        "cache = NodeCache.open(Path(sys.argv[1]), quota_bytes=2_000_000, reserve_bytes=0)\n"
        "for turn in range(300):\n"
        "    size = 20_000 + 1000 * (turn * 7 % 60)\n"
        "    key = CacheKey('s', f'k{turn * 13 % 97}', str(size), size)\n"
        "    want = bytes([turn * 13 % 97]) * size\n"
        "    held = cache.find(key)\n"
        "    if held is None:\n"
        "        try:\n"
        "            held = cache.put(key, want)\n"
        "        except NoRoom:\n"
        "            continue\n"
        "    got = os.pread(held.fd, size + 1, 0)\n"
        "    held.close()\n"
        "    assert got == want, key\n"
        "cache.close()\n"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", program, str(tmp_path / "cache")]
    running = [subprocess.Popen(command, cwd=root) for _ in range(4)]

    codes = [one.wait(60) for one in running]

    cache = NodeCache.open(tmp_path / "cache", quota_bytes=QUOTA_BYTES, reserve_bytes=0)
    findings = cache.verify()
    status = cache.status()
    cache.close()
    assert codes == [0] * 4
    assert findings.damaged == ()
    assert status.bytes + status.partial_bytes <= 2_000_000


NAMES_THAT_HURT = [
    " ", "a b", "a%20b", "a%2Fb", "+", "&?#", "...", ".hidden", "x.", "ünïcödé", "日本語", "é",
    "e\u0301", "😀", "quote\"'", "back`tick", "a;b", "$HOME", "-rf", "~", "a\tb", "x" * 200,
    "<xml>&amp;", "=", "%", "{}", "[x]", "*", "comma,", "a:b", "|", "@", "!",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES_THAT_HURT)
def test_names_that_hurt(scene: Scene, name: str) -> None:
    """A file of any odd name is written, listed, read, renamed and deleted like every other."""
    (scene.at / "d").mkdir()

    save(scene, f"d/{name}", BODIES["small"])
    found = listed(scene.at / "d")
    got = (read_all(scene.at / "d" / name), scene.stored(f"d/{name}"))
    (scene.at / "d" / name).rename(scene.at / "d" / f"{name}2")
    renamed = listed(scene.at / "d")
    (scene.at / "d" / f"{name}2").unlink()

    assert (found, renamed, listed(scene.at / "d")) == ([name], [f"{name}2"], [])
    assert got == (BODIES["small"], BODIES["small"])
    assert [one for one in scene.proxy.seen(Kind.PUT_BLOB) if one.status == 201]


def save(scene: Scene, name: str, body: bytes) -> None:
    with opened(scene.at / name, os.O_WRONLY | os.O_CREAT) as fd:
        write_all(fd, body)
