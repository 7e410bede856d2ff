"""`datastores quickstart`: a whole run on a bare machine, for anybody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534
# The promise is 30 s; a busy machine gets some more.
BOUND_SECONDS = 60.0


@pytest.fixture
def anywhere() -> Iterator[Path]:
    """A folder that every user may write into."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def _quickstart(
    folder: Path, *arguments: str, user: int | None = None
) -> tuple[subprocess.CompletedProcess[str], float]:
    began = time.monotonic()
    done = subprocess.run(
        [*_as(user), sys.executable, "-m", "datastores", "quickstart", *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "nowhere") if user else str(folder),
            "TMPDIR": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
    return done, time.monotonic() - began


def _as(user: int | None) -> list[str]:
    """How a program is started as somebody without rights, wherever the interpreter lies."""
    if user is None:
        return []
    # All that is left of root is that it may read this test's interpreter.
    reading = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *reading]


@pytest.mark.parametrize("user", [None, NOBODY])
def test_it_runs_end_to_end_for_root_and_for_nobody(anywhere: Path, user: int | None) -> None:
    """Every part is told, the model is good, nothing is left behind, and it is quick."""
    done, seconds = _quickstart(anywhere, user=user)

    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "1. A workspace",
        "read 120 pictures of disk, frame, stripes",
        "accuracy on 30 pictures it has not seen",
        "completed in",
        "AZUREML_DATAREFERENCE_pictures=/",
        "The result is workspaceblobstore:models/quickstart_",
        "datastores quickstart --keep demo",
    ):
        assert words in done.stdout
    assert list(anywhere.glob("datastores-quickstart-*")) == []
    assert seconds < BOUND_SECONDS


def test_nobody_is_told_why_nothing_was_mounted(anywhere: Path) -> None:
    """Where mounting is impossible the data is copied to the same path, and the reason is given."""
    done, _ = _quickstart(anywhere, "--json", user=NOBODY)

    report = json.loads(done.stdout)["run"]["report"]
    ways = {one["name"]: one["how"] for one in report["inputs"]}
    mounted = ways["pictures"] == "mount"
    assert mounted or any("mounting is not possible here" in one for one in report["warnings"])
    assert (report["status"], ways["labels"]) == ("Completed", "download")


def test_what_is_kept_can_be_looked_at(anywhere: Path) -> None:
    """In the folder the lines it proposes work; a folder with something in it is refused."""
    done, _ = _quickstart(anywhere, "--keep", "demo")

    listed = subprocess.run(
        [sys.executable, "-m", "datastores", "runs", "list", "--json"],
        cwd=anywhere / "demo",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    again, _ = _quickstart(anywhere, "--keep", "demo")
    repeated = subprocess.run(
        ["/bin/sh", "-c", _line_to_try(done.stdout)],
        cwd=anywhere / "demo",
        env={**os.environ, "PATH": f"{_commands(anywhere)}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0
    (run,) = json.loads(listed.stdout)
    assert (run["status"], run["experiment"]) == ("Completed", "quickstart")
    assert (again.returncode, "it is not empty" in again.stderr) == (3, True)
    assert repeated.returncode == 0, repeated.stderr
    assert "accuracy on 30 pictures" in repeated.stdout


def _line_to_try(said: str) -> str:
    """The command it proposes, as a person would copy it."""
    begin = said.index("datastores run src/train.py")
    return said[begin : said.index("{model}", said.index(" -- ", begin)) + len("{model}")]


def _commands(folder: Path) -> Path:
    """A folder with `datastores` in it, as an installation has one."""
    made = folder / "bin"
    made.mkdir()
    command = made / "datastores"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m datastores "$@"\n')
    command.chmod(0o755)
    return made
