"""Who keeps a host's lock, as others see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mount.host.folder import HostFolder

LOOKS = 300
BUSY = """
import os, sys
from pathlib import Path
from mount.host.folder import HostFolder
low = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
lock = HostFolder(Path(sys.argv[1])).lock()
print("locked", flush=True)
while True:
    for fd in low:
        os.close(fd)
    low = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
"""


def test_a_process_that_opens_and_closes_files_is_seen(tmp_path: Path) -> None:
    """A process that keeps the lock is always named, whatever it closes while one looks."""
    folder = HostFolder(tmp_path)
    with subprocess.Popen([sys.executable, "-c", BUSY, tmp_path], stdout=subprocess.PIPE) as keeper:
        try:
            assert keeper.stdout
            assert keeper.stdout.readline() == b"locked\n"

            seen = [folder.holders() for _ in range(LOOKS)]
        finally:
            keeper.kill()
    assert seen == [[keeper.pid]] * LOOKS
