"""A process that downloads synthetic objects and reports its peak memory, in MiB.

`python -m tests.transfer.measured COUNT SIZE TARGET`; the target may be a tmpfs, and with SIZE
beyond the disk the bytes are all zero, so that holes take them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from datastores.transfer import Options, download
from tests.transfer.synthetic import SyntheticStore


def peak_mib() -> int:
    # Not ru_maxrss: that one survives exec, so it would show the test runner's memory.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("this system does not tell its peak memory")


def main(count: str, size: str, target: str) -> None:
    store = SyntheticStore(count=int(count), size=int(size), zeros=int(size) > 1 << 30)
    summary = download(store, "n", Path(target), strip="n", options=Options(sparse=store.zeros))
    sys.stdout.write(json.dumps({"peak": peak_mib(), "moved": summary.moved}))


if __name__ == "__main__":
    main(*sys.argv[1:])
