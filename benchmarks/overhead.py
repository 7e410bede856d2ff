"""How much later an entry script starts through the agent than bare, with its data in place.

The job has one mount and one download of a blob container, both warm: the node has seen them
before. The two ways take turns, so that both meet the same machine.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.endpoint import free_port
from benchmarks.machine import describe_machine
from benchmarks.tools import cache_folder, find_azurite
from datastores.contract import (
    FolderSource,
    InputMode,
    InputSpec,
    JobSpec,
    LeaseSpec,
    Script,
    to_json,
)
from datastores.credentials.kinds import AccountKey, Sas
from datastores.definitions import BlobContainer
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.contract import Patience
from datastores.storage.open import open_store

BUDGET_SECONDS = 0.3
_REPOSITORY = Path(__file__).resolve().parent.parent
_ACCOUNT = "devstoreaccount1"
# Azurite's documented key; anybody may know it.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_SCRIPT = "import sys, time; sys.stdout.write(repr(time.time()))\n"
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds until the script's first line, and processor seconds of everything."""

    seconds: float
    cpu_seconds: float
    # Of the agent, by its own report.
    staging_seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print medians; 0 when the budget is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks overhead", description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="%(default)s")
    options = parser.parse_args(arguments)
    return measure_overhead(options.runs)


def measure_overhead(runs: int) -> int:
    """Print medians of so many starts of each kind; 0 when the budget is met."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as name, _azurite(Path(name)) as port:
        bench = _Bench(Path(name), port)
        bench.prepare()
        ways = [(bench.bare(), bench.through_agent(index)) for index in range(runs)]
    bare, agent = [one for one, _ in ways], [one for _, one in ways]
    later = _median(agent) - _median(bare)
    machine = describe_machine()
    print(json.dumps(machine))
    bare_cpu = statistics.median(one.cpu_seconds for one in bare)
    print(f"bare    {_median(bare):.3f} s, processor {bare_cpu:.3f} s")
    print(f"agent   {_median(agent):.3f} s, fastest {min(one.seconds for one in agent):.3f} s")
    print(
        f"  of it preparing references {statistics.median(o.staging_seconds for o in agent):.3f} s"
    )
    print(f"  processor {statistics.median(one.cpu_seconds for one in agent):.3f} s")
    print(f"later   {later:.3f} s, budget {BUDGET_SECONDS} s")
    return 0 if later <= BUDGET_SECONDS else 1


def _median(starts: Sequence[Start]) -> float:
    return statistics.median(one.seconds for one in starts)


class _Bench:
    """A container with a little data, a script, and a job over both."""

    def __init__(self, root: Path, port: int) -> None:
        self._root = root
        self._definition = BlobContainer(
            DatastoreName("data"),
            "data",
            _ACCOUNT,
            endpoint=f"http://127.0.0.1:{port}/{_ACCOUNT}",
        )

    def prepare(self) -> None:
        """Data, script and spec, and one run that warms the node's cache."""
        store = open_store(self._definition, AccountKey(Secret(_KEY)), Patience())
        with contextlib.closing(store):
            store.check(create=True)
            for index in range(100):
                store.write(f"images/{index:03}", os.urandom(100_000))
            store.write("labels.csv", b"a,b\n" * 1000)
        source = self._root / "source"
        source.mkdir()
        (source / "train.py").write_text(_SCRIPT)
        lease = self._lease()
        inputs = (
            InputSpec("images", InputMode.MOUNT, self._definition, "images", lease=lease),
            InputSpec("labels", InputMode.DOWNLOAD, self._definition, "labels.csv", lease=lease),
        )
        spec = JobSpec(
            "overhead", "overhead", Script("train.py"), FolderSource(str(source)), inputs=inputs
        )
        (self._root / "job.json").write_text(to_json(spec))
        self.through_agent(-1)

    def bare(self) -> Start:
        return _started([sys.executable, str(self._root / "source" / "train.py")], {})

    def through_agent(self, index: int) -> Start:
        folder = self._root / f"run{index}"
        agent = [sys.executable, "-c", "from mount.cli import main; main()"]
        command = [*agent, "run", str(self._root / "job.json"), "--folder", str(folder)]
        variables = {
            "DATASTORES_CACHE": str(self._root / "cache"),
            "PYTHONPATH": str(_REPOSITORY),
        }
        start = _started(command, variables)
        report = json.loads((folder / "report.json").read_text())
        ways = [one["how"] for one in report["inputs"]]
        if report["exit_code"] or ways != ["mount", "download"] or report["warnings"]:
            raise RuntimeError(f"the job did not run as it should: {report}")
        shutil.rmtree(folder)
        return Start(start.seconds, start.cpu_seconds, report["phases"]["staging"])

    def _lease(self) -> LeaseSpec:
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        token = generate_container_sas(
            _ACCOUNT,
            self._definition.container,
            account_key=_KEY,
            permission=ContainerSasPermissions(read=True, list=True),
            expiry=ends,
        )
        return LeaseSpec(Sas(Secret(token)), ends.timestamp())


def _started(command: Sequence[str], variables: dict[str, str]) -> Start:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.time()
    answer = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Start(float(answer.stdout) - began, spent)


@contextlib.contextmanager
def _azurite(folder: Path) -> Iterator[int]:
    port = free_port()
    command = [str(find_azurite(cache_folder())), "--silent", "--skipApiVersionCheck"]
    command += ["--disableTelemetry", "--inMemoryPersistence", "--blobPort", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder) as process:
        try:
            _await_answer(process, port)
            yield port
        finally:
            process.terminate()


def _await_answer(process: subprocess.Popen[bytes], port: int) -> None:
    import socket

    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # no event tells that another process listens
        else:
            return
    raise RuntimeError("Azurite did not start")


if __name__ == "__main__":
    sys.exit(main())
