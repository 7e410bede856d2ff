"""A host for a user who may not mount: `fusermount3` does it, and healing needs no rights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

NOBODY = 65534
HERE = Path(__file__).parent
# What is shown for root, and holds for everybody.
SUITES = (
    "ordinary.py",
    "test_healing.py::test_readers_see_a_pause",
    "test_healing.py::test_writers_lose_nothing[bench]",
    "test_healing.py::test_open_things_go_on",
    "test_healing.py::test_a_mount_survives_its_supervisor",
    "test_healing.py::test_a_dead_host_is_cleared_by_the_next",
    "test_healing.py::test_a_worker_that_keeps_dying_is_given_up",
    "test_ends.py::test_release_stores_what_is_open",
)
# A machine whose users may mount, seen by one process and its children: the device is open to all,
# and the helper is root's. They all end with the first of them.
AS_A_USER = """
set -eu
folder=$1 helper=$2 user=$3
shift 3
mount -t tmpfs -o mode=755 none "$folder/machine"
mknod -m 666 "$folder/machine/fuse" c 10 229
chmod 666 "$folder/machine/fuse"
mount --bind "$folder/machine/fuse" /dev/fuse
cp "$helper" "$folder/machine/fusermount3"
chmod 4755 "$folder/machine/fusermount3"
export PATH="$folder/machine:$PATH"
exec setpriv --reuid="$user" --regid="$user" --clear-groups \
    --inh-caps=+dac_read_search --ambient-caps=+dac_read_search "$@"
"""


@pytest.fixture
def anywhere() -> Iterator[Path]:
    """A folder that every user may look into, with one that is theirs."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    (folder / "machine").mkdir()
    (folder / "home").mkdir()
    os.chown(folder / "home", NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def test_a_mount_of_an_ordinary_user_heals_as_roots_does(anywhere: Path) -> None:
    """The healing suite passes, nothing left out, for nobody and with the setuid helper."""
    helper = shutil.which("fusermount3")
    assert helper, "fusermount3 is not installed; install the package fuse3"
    home, report = anywhere / "home", anywhere / "home" / "report.xml"
    done = subprocess.run(
        [
            *("unshare", "--mount", "--propagation=private", "--pid", "--fork"),
            *("--kill-child", "--mount-proc", "sh", "-c", AS_A_USER, "sh"),
            *(anywhere, helper, str(NOBODY), sys.executable, "-m", "pytest", "-q"),
            *("-p", "no:cacheprovider", f"--basetemp={home / 'tests'}", f"--junitxml={report}"),
            *(f"{HERE / one}" for one in SUITES),
        ],
        cwd=HERE.parents[2],
        # All that is left of root is that it may read this test's interpreter.
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    (suite,) = ET.parse(report).iter("testsuite")  # written by it
    counts = {name: int(suite.attrib[name]) for name in ("errors", "failures", "skipped")}
    names = {str(case.attrib["name"]) for case in suite.iter("testcase")}
    assert counts == {"errors": 0, "failures": 0, "skipped": 0}
    assert {one.partition("::")[2] for one in SUITES[1:]} <= names
    assert len(names) == len(SUITES) - 1 + 3
