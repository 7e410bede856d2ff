"""Azurite, the emulator of Azure's blob service, started once per session."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from datastores.credentials.kinds import AccountKey
from datastores.definitions.azure_storage import BlobContainer
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.blob.store import open_blob
from datastores.storage.contract import Patience

# Azurite's documented account; anybody may know its key.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Azurite:
    """A blob service of one account, on a port of its own."""

    endpoint: str
    account: str
    key: Secret

    def container(self) -> str:
        """A fresh, empty container with a name nobody else has."""
        name = f"c{uuid.uuid4().hex}"
        definition = BlobContainer(
            name=DatastoreName("azurite"),
            container=name,
            account=self.account,
            endpoint=self.endpoint,
        )
        store = open_blob(definition, AccountKey(self.key), Patience())
        with contextlib.closing(store):
            store.check(create=True)
        return name


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Azurite with nothing in it; it is stopped when the session ends."""
    folder = tmp_path_factory.mktemp("azurite")
    port = _free_port()
    log = folder / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                _executable(),
                "--blobPort",
                str(port),
                "--inMemoryPersistence",
                "--skipApiVersionCheck",
                "--disableTelemetry",
                "--silent",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        try:
            _await_answer(process, port, log)
            yield Azurite(f"http://127.0.0.1:{port}/{ACCOUNT}", ACCOUNT, Secret(KEY))
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)


def _executable() -> str:
    root = Path(__file__).parents[2]
    local = root / ".tools" / "node_modules" / ".bin" / "azurite-blob"
    found = os.environ.get("AZURITE_BLOB") or (
        str(local) if local.exists() else shutil.which("azurite-blob")
    )
    if not found or not Path(found).exists():
        pytest.fail(
            "these tests need Azurite: npm install --prefix .tools azurite "
            "(or set AZURITE_BLOB to the executable azurite-blob)",
            pytrace=False,
        )
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # no event tells that another process listens
        else:
            return
    pytest.fail(f"Azurite did not start: {log.read_text()}", pytrace=False)
