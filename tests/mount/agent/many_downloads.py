"""Several jobs' downloads of one input, in one process: python -m ... SPEC FOLDER JOBS."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from datastores.contract import from_json
from datastores.storage.contract import Patience
from datastores.transfer import Silent
from mount.agent.download_cache import DownloadCache
from mount.agent.inputs import fetch_files
from mount.agent.leash import Leash
from mount.leases import RenewableLease
from mount.places import cache_folder


def main(spec_path: str, folder: str, jobs: str) -> None:
    """Say, when all have ended, what went wrong, the counters of each, and the peak of memory."""
    one = from_json(Path(spec_path).read_bytes()).inputs[0]
    counters: list[dict[str, int | float]] = []
    wrong: list[str] = []

    def fetch(number: int) -> None:
        root = Path(folder) / str(number)
        root.mkdir(parents=True)
        cache = DownloadCache(cache_folder())
        lease = RenewableLease(one.definition.name, one.lease)
        try:
            fetched = fetch_files(
                one, lease, root / "data", root / "records", Leash(), Patience(), cache, Silent
            )
            counters.append(dict(fetched.counters))
        except Exception as error:  # noqa: BLE001  # shown by the test
            wrong.append(repr(error))
        finally:
            cache.close()

    threads = [threading.Thread(target=fetch, args=[number]) for number in range(int(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Not `ru_maxrss`, which remembers what the parent was when it forked.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) << 10
    sys.stdout.write(json.dumps({"wrong": wrong, "counters": counters, "peak": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
