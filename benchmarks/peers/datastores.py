"""The project's own engine, with its defaults."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace

from benchmarks.address import EMULATOR_ACCOUNT, EMULATOR_KEY
from benchmarks.peers.peer import (
    Command,
    Direction,
    Task,
    parse_arguments,
    python_command,
    python_version,
)
from benchmarks.tools import Tools

_UNCHECKED = "BENCHMARK_UNCHECKED"


class Datastores:
    """`datastores.transfer` over the store of a blob container: verified, resumable, atomic."""

    name = "datastores"
    settings = "datastores.transfer.download/upload, defaults"
    uses_network = True
    environment: Mapping[str, str] = {}

    def version_command(self, tools: Tools) -> Command:
        return python_version(tools, "datastores")

    def command(self, task: Task) -> Command:
        command = python_command(task.tools, "datastores", task)
        return replace(command, environment=self.environment)


class DatastoresUnchecked(Datastores):
    """The same without checksums: what the check of integrity costs is the difference."""

    name = "datastores-unchecked"
    settings = "as datastores, integrity by size alone"
    environment: Mapping[str, str] = {_UNCHECKED: "1"}


def main() -> None:
    """Move the folder."""
    from datastores.credentials.kinds import AccountKey
    from datastores.definitions import BlobContainer
    from datastores.names import DatastoreName
    from datastores.secret import Secret
    from datastores.storage.open import open_store
    from datastores.transfer import Integrity, Options, download, upload

    direction, address, folder = parse_arguments(sys.argv[1:])
    container = BlobContainer(
        name=DatastoreName.parse("benchmark"),
        container=address.container,
        account=EMULATOR_ACCOUNT,
        endpoint=address.account_url,
    )
    options = Options(integrity=Integrity.SIZE) if _UNCHECKED in os.environ else None
    store = open_store(container, AccountKey(Secret(EMULATOR_KEY)))
    try:
        if direction is Direction.DOWNLOAD:
            download(store, "", folder, options=options)
        else:
            upload(store, folder, "", options=options)
    finally:
        store.close()


if __name__ == "__main__":
    main()
