"""`datastores quickstart`: a whole run on sample data, on this machine, in half a minute."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datastores.cli.options import json_option, print_json
from datastores.errors import ConfigRejected
from datastores.value import Value

if TYPE_CHECKING:
    from datastores.catalog.file_datastores import FileDatastore
    from datastores.catalog.workspace import Workspace
    from datastores.history.records import RunRecord

_NAME = "quickstart"
_LEAVE_SECONDS = 10.0
# What a run caches, and where leases are kept, belongs to the folder as well.
_CACHE_VARIABLE = "DATASTORES_CACHE"


@click.command("quickstart")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Make it here and keep it; otherwise it is temporary and goes at the end.",
)
@json_option
def quickstart_command(keep: Path | None, as_json: bool) -> int:
    """Train on sample data here and now.

    It makes a workspace, stores pictures in it and runs a script on them: no cloud, no root,
    nothing to set up.
    """
    began = time.monotonic()
    with _folder(keep) as folder, contextlib.chdir(folder), _own_cache(folder):
        tour = _Tour(folder, is_kept=keep is not None, is_silent=as_json)
        record = tour.take()
        seconds = time.monotonic() - began
        if as_json:
            print_json({"folder": folder, "seconds": seconds, "run": asdict(record)})
        else:
            tour.conclude(record, seconds)
    return record.exit_code or 0


class _Tour(Value):
    """One walk through everything, with words for a beginner."""

    folder: Path
    is_kept: bool
    is_silent: bool

    def take(self) -> RunRecord:
        """The run at the end of it."""
        workspace = self._make_workspace()
        try:
            self._make_data(workspace)
            record = self._run(workspace)
            self._explain(workspace, record)
            _wait_for_runner(record)
        finally:
            workspace.close()
        return record

    def conclude(self, record: RunRecord, seconds: float) -> None:
        """How long it took, and what to try next."""
        self._title(f"That was all: {seconds:.0f} s")
        if not self.is_kept:
            self._say("The folder was temporary and is gone now. To look around in it:")
            self._say("  datastores quickstart --keep demo && cd demo")
        else:
            self._say("Look around:")
            self._say(f"  cd {self.folder}")
        self._say("  datastores list                       # the datastores")
        self._say("  datastores ls workspaceblobstore:     # what is in one")
        self._say(f"  datastores runs show {record.run_id}")
        self._say(
            "  datastores run src/train.py --input pictures=workspaceblobstore:sample/pictures \\"
        )
        self._say("      --input labels=workspaceblobstore:sample/labels.csv:download \\")
        self._say("      --output model=workspaceblobstore:models/{run_id} \\")
        self._say("      -- --pictures {pictures} --labels {labels} --model {model}")
        self._say("With data in Azure, register the store once and change nothing else:")
        self._say("  datastores register blob images --account ACCOUNT --container CONTAINER")

    def _make_workspace(self) -> Workspace:
        from datastores.catalog.workspace import Workspace

        self._title("1. A workspace")
        workspace = Workspace.create(_NAME, folder=self.folder, show_output=False)
        self._say(
            f"A workspace remembers datastores and runs; this one is the folder {self.folder}."
        )
        self._say('It has a datastore "workspaceblobstore", here a folder as well.')
        self._say("On Azure it would be a container.")
        return workspace

    def _make_data(self, workspace: Workspace) -> None:
        from datastores.submission import sample

        self._title("2. Sample data")
        with tempfile.TemporaryDirectory() as made:
            sample.write_pictures(Path(made))
            self._store(workspace).upload(made, "sample", show_progress=False)
        sample.write_script(self.folder / "src")
        self._say("120 small pictures and their labels are in the datastore now, under sample/.")
        self._say(f"The script that learns from them is {self.folder / 'src' / sample.SCRIPT}.")
        self._say(
            "It knows nothing of datastores: it reads a folder and a file, and writes a folder."
        )

    def _run(self, workspace: Workspace) -> RunRecord:
        from datastores.cli.following import follow
        from datastores.runs import ScriptRunConfig
        from datastores.submission import sample, submit

        self._title("3. A run")
        self._say("Three places are named; the script gets a path for each:")
        self._say("  pictures  mounted: files are fetched when they are read")
        self._say("  labels    downloaded before the script starts")
        self._say("  model     uploaded while and after it runs")
        store = self._store(workspace)
        arguments = [
            "--pictures",
            store.path("sample/pictures", "pictures").as_mount(),
            "--labels",
            store.path("sample/labels.csv", "labels").as_download(),
            "--model",
            store.path("models/{run_id}", "model").as_upload(),
        ]
        config = ScriptRunConfig(self.folder / "src", sample.SCRIPT, arguments)
        run_id = submit(workspace, _NAME, config)
        self._say("What the script says:")
        self._say("")
        return follow(workspace, run_id, to_stderr=self.is_silent, quiet=True)

    def _explain(self, workspace: Workspace, record: RunRecord) -> None:
        from datastores.cli.outcomes import outcome_lines

        self._title("4. What happened")
        report = record.report or {}
        for line in outcome_lines(record, with_next=self.is_kept):
            self._say(line)
        if record.error:
            return
        self._say("")
        self._say("The script found its data by these variables (and by its arguments):")
        for one in (*report.get("inputs", ()), *report.get("outputs", ())):
            self._say(f"  AZUREML_DATAREFERENCE_{one['name']}={one['path']}")
        self._say("")
        self._show_result(workspace, record)

    def _show_result(self, workspace: Workspace, record: RunRecord) -> None:
        from datastores.storage.verbs import read_bytes

        place = next(one.place for one in record.references if one.name == "model")
        with self._store(workspace).opened() as store:
            model = json.loads(read_bytes(store, f"{place}/model.json"))
        self._say(f"The result is workspaceblobstore:{place}/model.json.")
        self._say(f"The model is right about {model['accuracy']:.0%} of the pictures it never saw.")

    def _store(self, workspace: Workspace) -> FileDatastore:
        from datastores.catalog.file_datastores import FileDatastore

        found = workspace.get_default_datastore()
        assert isinstance(found, FileDatastore)
        return found

    def _title(self, text: str) -> None:
        if not self.is_silent:
            click.echo()
            click.echo(click.style(text, bold=True))

    def _say(self, text: str) -> None:
        if not self.is_silent:
            click.echo(text)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """The folder for everything; an empty one that stays, or a temporary one."""
    if keep is None:
        made = Path(tempfile.mkdtemp(prefix="datastores-quickstart-"))
        try:
            yield made.resolve()
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return
    chosen = keep.expanduser().absolute()
    try:
        chosen.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigRejected(
            str(chosen), f"it cannot be made ({error.strerror}); choose another folder"
        ) from error
    if any(chosen.iterdir()):
        raise ConfigRejected(str(chosen), "it is not empty; choose a new folder for --keep")
    yield chosen


@contextlib.contextmanager
def _own_cache(folder: Path) -> Iterator[None]:
    """Runs of this process cache below the folder, unless somebody chose a place."""
    before: Any = os.environ.get(_CACHE_VARIABLE)
    os.environ[_CACHE_VARIABLE] = before or str(folder / "cache")
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CACHE_VARIABLE]


def _wait_for_runner(record: RunRecord) -> None:
    """Until nobody writes into the folder any more, which may be about to go."""
    from datastores.submission.supervising import place_here

    place = place_here(record)
    end = time.monotonic() + _LEAVE_SECONDS
    while place is not None and place.is_watched() and time.monotonic() < end:
        time.sleep(0.05)
