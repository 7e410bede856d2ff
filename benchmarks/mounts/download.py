"""Our own download of the files that a mount reads: what a mount's first reading is held against.

Usage: python -m benchmarks.mounts.download FOLDER PORT CONTAINER; prints the seconds it took
without the start of the interpreter, as those of the program in a mount are.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.address import EMULATOR_ACCOUNT, EMULATOR_KEY, Address
from benchmarks.endpoint import Endpoint
from benchmarks.mounts.outcome import Outcome
from benchmarks.mounts.promises import DOWNLOAD
from benchmarks.mounts.turn import CONTAINER, REPOSITORY, Stage, emptied
from benchmarks.mounts.works import Phase, Turn
from benchmarks.sink import Sink


def run_download(stage: Stage, turn: Turn) -> Outcome:
    """The turn's files, downloaded to the disk that holds the mount's cache."""
    seconds, words = 0.0, ""
    with (
        emptied(stage.work / "download") as (folder,),
        Endpoint(stage.tools.common, Sink(stage.work), stage.work / "run", frozen=True) as endpoint,
    ):
        answer = subprocess.run(
            [
                *(str(stage.tools.common.python), "-m", "benchmarks.mounts.download"),
                *(str(folder), str(endpoint.address.port), CONTAINER),
            ],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            timeout=stage.limit_seconds,
            check=False,
        )
        words = (answer.stderr.splitlines() or ["failed"])[-1] if answer.returncode else ""
        with contextlib.suppress(ValueError):
            seconds = float(answer.stdout)
    return Outcome(
        work=turn.work.name,
        phase=Phase.COLD.value,
        peer=DOWNLOAD,
        round=turn.round,
        seconds=seconds,
        units=turn.work.units,
        cpu_seconds=0.0,
        peak_rss_bytes=0,
        rejections=(words,) if words else (),
    )


def main(folder: str, port: str, container: str) -> None:
    """Download everything, timed."""
    from datastores.credentials.kinds import AccountKey
    from datastores.definitions import BlobContainer
    from datastores.names import DatastoreName
    from datastores.secret import Secret
    from datastores.storage.open import open_store
    from datastores.transfer import download

    definition = BlobContainer(
        name=DatastoreName.parse("benchmark"),
        container=container,
        account=EMULATOR_ACCOUNT,
        endpoint=Address(int(port), container).account_url,
    )
    store = open_store(definition, AccountKey(Secret(EMULATOR_KEY)))
    try:
        started = time.monotonic()
        download(store, "", Path(folder))
        print(time.monotonic() - started)
    finally:
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
