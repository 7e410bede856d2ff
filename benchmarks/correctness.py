"""Every peer against Azurite: what one uploads, it and the official SDK must download again.

Azurite checks signatures, block lists and headers, which the fast endpoint does not; it is far too
slow to be measured against. So this shows that the peers are driven rightly, and nothing else.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.address import Address
from benchmarks.endpoint import free_port
from benchmarks.measure import run_measured
from benchmarks.peers.peer import Direction, Peer, Task
from benchmarks.peers.registry import PEERS
from benchmarks.tools import Tools, cache_folder, find_azurite, find_tools
from benchmarks.trial import clean_environment
from benchmarks.workloads import MIB, Manifest, Workload, differences, files_below, make_files

_REPOSITORY = Path(__file__).resolve().parent.parent
_REFERENCE = "azure-sdk"
_START_SECONDS = 30.0
_LIMIT_SECONDS = 300.0
# Around the sizes at which clients change their ways: empty, one request, one block, many blocks.
_SIZES = (0, 1, 4096, 4 * MIB, 4 * MIB + 1, 8 * MIB, 20 * MIB + 7)


def check_peers(names: Sequence[str]) -> int:
    """Print what every peer got wrong; 0 when that is nothing."""
    tools = find_tools(cache_folder())
    workload = Workload("correctness", "sizes at the edges", _SIZES * 3, of_files=True)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, _azurite(Path(name)) as port:
        origin = Path(name) / "origin"
        manifest = make_files(workload, origin, seed=1)
        for peer in (PEERS[one] for one in names if PEERS[one].uses_network):
            address = Address(port, f"data-{peer.name}")
            _make_container(tools, address)
            problems = [
                *_move(tools, peer, Direction.UPLOAD, address, origin),
                *_fetch(tools, PEERS[_REFERENCE], address, Path(name), manifest),
                *_fetch(tools, peer, address, Path(name), manifest),
            ]
            print(f"{peer.name}: {'; '.join(problems) or 'right'}", flush=True)
            wrong += bool(problems)
    return 1 if wrong else 0


@contextlib.contextmanager
def _azurite(folder: Path) -> Iterator[int]:
    """The emulator's port, for as long as the block lasts."""
    port = free_port()
    command = [
        str(find_azurite(cache_folder())),
        "--silent",
        "--skipApiVersionCheck",
        "--disableTelemetry",
    ]
    command += ["--location", str(folder / "azurite"), "--blobPort", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _await_answer(process, port)
            yield port
        finally:
            process.terminate()


def _await_answer(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError as answer:
            answer.close()  # any answer shows that it listens
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("Azurite did not start") from None
            time.sleep(0.1)


def _make_container(tools: Tools, address: Address) -> None:
    code = (
        "import sys; from azure.storage.blob import ContainerClient as C\n"
        "with C.from_connection_string(*sys.argv[1:]) as client: client.create_container()"
    )
    command = [str(tools.python), "-c", code, address.connection_string, address.container]
    subprocess.run(command, check=True, timeout=60)


def _fetch(
    tools: Tools, peer: Peer, address: Address, folder: Path, manifest: Manifest
) -> list[str]:
    """What this peer gets wrong when it downloads the container."""
    with tempfile.TemporaryDirectory(dir=folder) as target:
        problems = _move(tools, peer, Direction.DOWNLOAD, address, Path(target))
        found = files_below(Path(target))
        arrived = {name: [path] for name, path in found.items() if name in manifest}
        return problems + [f"{peer.name}: {text}" for text in differences(manifest, arrived)[:3]]


def _move(
    tools: Tools, peer: Peer, direction: Direction, address: Address, folder: Path
) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        command = peer.command(Task(direction, address, folder, folder, scratch, tools))
        log = scratch / "output.log"
        cost = run_measured(
            command.argv,
            clean_environment(command.environment, scratch),
            folder=_REPOSITORY,
            log=log,
            limit_seconds=_LIMIT_SECONDS,
        )
        if cost.exit_code == 0:
            return []
        words = log.read_text(errors="replace").strip()[-500:]
        return [f"{peer.name} {direction.value}: exit code {cost.exit_code}: {words}"]
