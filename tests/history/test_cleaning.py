"""The working folder of a run that has ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from datastores import Experiment, Run, RunConfiguration, ScriptRunConfig
from datastores.errors import RunRefused
from datastores.history.run_history import RunHistory
from datastores.history.status import Status
from datastores.submission.place import RunPlace
from tests.history.conftest import RUN
from tests.submission.bench import wait_for_lock

_HOLD = (
    "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); "
    "fcntl.flock(fd, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def ended(experiment: Experiment) -> Run:
    """A submitted run that has ended and left a file in its working folder."""
    Path("src").mkdir()
    Path("src/train.py").write_text("open('left.txt', 'w').write('x'); print('said')")
    run = experiment.submit(ScriptRunConfig("src", run_config=RunConfiguration(script="train.py")))
    run.wait_for_completion()
    return run


def _root(run: Run) -> Path:
    return Path(run._record().folder or "")


def _wait_for_runner(run: Run) -> None:
    """The runner lets go of its lock a moment after the last status."""
    wait_for_lock(_root(run) / "runner.lock")


def test_an_ended_run_loses_its_working_folder_alone(ended: Run) -> None:
    """A dry run removes nothing; links are removed and not followed; logs stay."""
    _wait_for_runner(ended)
    work = _root(ended) / "work"
    Path("outside").mkdir()
    Path("outside/kept.txt").write_text("kept")
    (work / "link").symlink_to(Path("outside").absolute())

    told = ended.clean(dry_run=True)
    still = (work / "left.txt").is_file()
    done = ended.clean()

    assert (told == done, still, work.exists()) == (True, True, False)
    assert {str(work / name) for name in ("left.txt", "link", "train.py")} <= set(done)
    assert Path("outside/kept.txt").read_text() == "kept"
    assert "said" in (_root(ended) / "logs/output.log").read_text()
    assert ended.clean() == []


def test_nothing_goes_that_is_in_use_or_nowhere_else(ended: Run) -> None:
    """Results that are in no store, a runner and an agent keep the folder."""
    _wait_for_runner(ended)
    place = RunPlace(_root(ended))
    report = json.loads(place.report.read_text())

    place.report.write_text(json.dumps(report | {"is_settled": False}))
    with pytest.raises(RunRefused, match=f"in no store yet; .* resume {ended.id}"):
        ended.clean()
    place.report.write_text(json.dumps(report))
    for lock, words in (("runner.lock", "is being looked after"), ("lock", "an agent at work")):
        with subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(place.root / lock)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(RunRefused, match=words):
                ended.clean()
            holder.communicate(timeout=60)

    assert (place.root / "work/left.txt").is_file()


def test_a_mount_in_the_folder_keeps_it(ended: Run, tmp_path: Path) -> None:
    """What is mounted below the working folder is told by its path, and nothing is removed."""
    _wait_for_runner(ended)
    at, data = _root(ended) / "work" / "a mount", tmp_path / "data"
    at.mkdir()
    data.mkdir()
    (data / "precious.txt").write_text("p")
    subprocess.run(["mount", "--bind", data, at], check=True)
    try:
        with pytest.raises(RunRefused, match=f'has mounts in its folder: "{at}"'):
            ended.clean()
    finally:
        subprocess.run(["umount", at], check=True)

    assert (data / "precious.txt").read_text() == "p"
    assert (at.parent / "left.txt").is_file()


def test_a_run_that_goes_on_or_is_elsewhere_is_refused(
    history: RunHistory, experiment: Experiment
) -> None:
    """A run at work is to be canceled first, and one of another machine is cleaned there."""
    run = Run(experiment, RUN)

    with pytest.raises(RunRefused, match=f"is Running; end it with: datastores runs cancel {RUN}"):
        run.clean()
    history.change(RUN, status=Status.COMPLETED)
    with pytest.raises(RunRefused, match="has no folder on this machine"):
        run.clean()
