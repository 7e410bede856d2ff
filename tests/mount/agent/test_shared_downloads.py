"""Jobs of one node that want the same data fetch it once."""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from datastores.contract import to_json
from tests.mount.agent.cloud import Cloud
from tests.mount.agent.gate import Gate
from tests.mount.agent.jobs import ROOT, Bench
from tests.servers.azurite import Azurite

MIB = 1 << 20
_REQUEST = re.compile(rb"GET (/[^ ?]*)(\S*) HTTP/1\.1\r\n(?:[^\r]*\r\n)*?\r\n")


class CountingGate(Gate):
    """Counts what is asked for: GET requests of objects, by path and range."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(target)
        self.asked: collections.Counter[str] = collections.Counter()
        self._tails: dict[int, bytes] = collections.defaultdict(bytes)
        self._counting = threading.Lock()

    def looked_at(self, connection: int, piece: bytes) -> None:
        with self._counting:
            text = self._tails[connection] + piece
            end = 0
            for found in _REQUEST.finditer(text):
                end = found.end()
                if b"comp=list" not in found[2]:
                    span = re.search(rb"range: bytes=(\S+)", found[0], re.IGNORECASE)
                    where = urllib.parse.unquote(found[1].decode())
                    self.asked[f"{where} {span[1].decode() if span else ''}".strip()] += 1
            self._tails[connection] = text[max(end, len(text) - 8192) :]


@pytest.fixture
def counting(azurite: Azurite) -> Iterator[Cloud]:
    """A container of Azurite behind a gate that counts."""
    address = urllib.parse.urlsplit(azurite.endpoint)
    assert address.hostname is not None
    assert address.port is not None
    with CountingGate((address.hostname, address.port)) as gate:
        yield Cloud.of(azurite, gate)


# Without a daemon nobody says that jobs share this node.
CACHED = ("--cache-downloads", "always")


def _asked(cloud: Cloud) -> collections.Counter[str]:
    assert isinstance(cloud.gate, CountingGate)
    return cloud.gate.asked


def _fill(cloud: Cloud) -> dict[str, bytes]:
    objects = {f"train/{n:02}": bytes([n]) * (1000 + n) for n in range(30)}
    objects |= {"train/middle": os.urandom(3 * MIB + 5), "train/large": os.urandom(20 * MIB + 11)}
    with cloud.store() as store:
        for key, body in objects.items():
            store.write(key, body)
    return {key.removeprefix("train/"): body for key, body in objects.items()}


def test_sixty_four_jobs_fetch_each_object_once(bench: Bench, counting: Cloud) -> None:
    """64 jobs in eight processes ask for each object, or range of a large one, exactly once."""
    objects = _fill(counting)
    bench.script("")
    given = bench.input("train", "train", definition=counting.definition, lease=counting.lease)
    spec = bench.root / "spec.json"
    spec.write_text(to_json(bench.spec(inputs=(given,), outputs=())))

    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.mount.agent.many_downloads",
                spec,
                bench.root / f"p{n}",
                "8",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        for n in range(8)
    ]
    answers = [process.communicate(timeout=110) for process in processes]
    told = [json.loads(out) for out, _ in answers]

    asked = _asked(counting)
    assert [one["wrong"] for one in told] == [[]] * 8
    assert set(asked.values()) == {1}, asked
    assert {path.split("/train/")[1].split()[0] for path in asked} == set(objects)
    for process in range(8):
        for job in range(8):
            folder = bench.root / f"p{process}" / str(job) / "data"
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == objects
    fetched = sum(one["bytes_fetched"] for each in told for one in each["counters"])
    assert fetched == sum(len(body) for body in objects.values())
    # Eight downloads at once in one process, each with its own threads and buffers.
    assert max(one["peak"] for one in told) < 600 * MIB


def test_a_second_job_finds_the_first_ones_files(bench: Bench, counting: Cloud) -> None:
    """A job after another has its input from the cache, says so, and a changed file does not harm."""
    objects = _fill(counting)
    bench.script("""
        import os, pathlib
        data = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_train"])
        (data / "00").write_bytes(b"changed by the script")
        (data / "large").unlink()
    """)
    given = bench.input("train", "train", definition=counting.definition, lease=counting.lease)
    spec = bench.spec(inputs=(given,), outputs=())
    first = bench.start(spec, *CACHED).end()
    before = _asked(counting).total()
    shutil.rmtree(bench.run)
    bench.script("")

    second = bench.start(spec, *CACHED).end()

    assert (first.code, second.code, _asked(counting).total()) == (0, 0, before), second.err
    folder = bench.run / "work/cloud/train"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == objects
    (report,) = bench.report()["inputs"]
    counters = report["counters"]
    assert (counters["cache_bytes"], counters["requests"], counters["bytes_fetched"]) == (
        sum(len(body) for body in objects.values()),
        0,
        0,
    )
    assert report["bytes"] == counters["cache_bytes"]
    data = report["data"]
    assert (data["hit_rate"], data["bytes_read"], data["blocked_seconds"]) == (
        1.0,
        report["bytes"],
        report["seconds"],
    )


def test_a_cache_that_cannot_be_used_costs_a_warning(
    bench: Bench, counting: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the cache's folder is a file the download goes without it, and one line says so."""
    objects = _fill(counting)
    bench.script("")
    (bench.root / "file").write_text("x")
    monkeypatch.setenv("DATASTORES_CACHE", str(bench.root / "file"))
    given = bench.input("train", "train", definition=counting.definition, lease=counting.lease)

    ended = bench.start(bench.spec(inputs=(given,), outputs=()), *CACHED).end()

    assert (ended.code, ended.err.count("downloads go without the cache")) == (0, 1), ended.err
    folder = bench.run / "work/cloud/train"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == objects


def test_the_cache_gives_way_on_a_small_disk(
    bench: Bench, counting: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input that fits on the disk once, and not beside its copy in the cache, arrives."""
    with counting.store() as store:
        for number in range(6):
            store.write(f"train/{number}", os.urandom(6 * MIB))
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(place)], check=True)
    try:
        monkeypatch.setenv("DATASTORES_CACHE", str(place / "cache"))
        bench.script("")
        given = bench.input("train", "train", definition=counting.definition, lease=counting.lease)
        spec = bench.spec(inputs=(given,), outputs=())

        ended = bench.start(spec, "--folder", str(place / "run"), *CACHED).end()

        found = list((place / "run/work/cloud/train").iterdir())
        sizes = {path.name: path.stat().st_size for path in found}
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
    assert ended.code == 0, ended.err
    assert sizes == {str(number): 6 * MIB for number in range(6)}
