"""`datastores runs`: what was submitted, how it stands, what it said, how it ends or goes on."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from datastores.cli.options import (
    ask,
    find_workspace,
    json_option,
    print_json,
    workspace_option,
)
from datastores.cli.tables import counted, print_facts, print_table
from datastores.errors import NotFound, NotRegistered
from datastores.text import printable

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace
    from datastores.history.records import RunRecord
    from datastores.history.run_history import RunHistory

_MOST_COMPLETED = 50


def complete_run(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001  # click's signature
    incomplete: str,
) -> list[click.shell_completion.CompletionItem]:
    """Ids of the newest runs, for the shell."""
    from click.shell_completion import CompletionItem

    from datastores.errors import DatastoresError

    try:
        history = _history(find_workspace(ctx.params.get("workspace_name")))
        found = history.list(limit=_MOST_COMPLETED)
    except DatastoresError:
        return []  # a completion has nowhere to complain
    return [
        CompletionItem(one.run_id, help=f"{one.status} {one.script or ''}".strip())
        for one in found
        if one.run_id.startswith(incomplete)
    ]


_run_argument = click.argument("run_id", metavar="RUN", shell_complete=complete_run)
_newest_argument = click.argument(
    "run_id", metavar="[RUN]", required=False, shell_complete=complete_run
)


@click.group("runs")
def runs_command() -> None:
    """Look at runs, end them, go on with them.

    Where RUN may be left out, it is the newest one.
    """


@runs_command.command("list")
@click.option("--experiment", metavar="NAME", help="Only runs of this experiment.")
@click.option("--status", metavar="STATUS", help="Only runs in this state, such as Failed.")
@click.option("--all", "with_steps", is_flag=True, help="Steps of pipelines as well.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True)
@workspace_option
@json_option
def list_command(
    experiment: str | None,
    status: str | None,
    with_steps: bool,
    limit: int,
    workspace_name: str | None,
    as_json: bool,
) -> None:
    """Show the newest runs."""
    from datastores.submission import look_at

    history = _history(find_workspace(workspace_name))
    wanted = None if status is None else _status(status)
    # Looking may change a state, so states are compared afterwards.
    found: list[RunRecord] = []
    for record in history.every(experiment, top_level=not with_steps):
        seen = look_at(history, [record])[0]
        if wanted in (None, seen.status):
            found.append(seen)
        if len(found) == limit:
            break
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        print_table(
            [_line(one) for one in found],
            empty="no runs; start one with: datastores run train.py",
        )


@runs_command.command("show")
@_newest_argument
@click.option(
    "--versions",
    "versions_of",
    metavar="INPUT",
    help="Only the files that this input gave the script: name, size, version.",
)
@workspace_option
@json_option
def show_command(
    run_id: str | None, versions_of: str | None, workspace_name: str | None, as_json: bool
) -> None:
    """Show a run: state, data, where the time went, which versions it read."""
    from datastores.submission import look

    workspace = find_workspace(workspace_name)
    history = _history(workspace)
    record = look(workspace, _named(history, run_id))
    if versions_of is not None:
        _show_versions(workspace, record, versions_of, as_json=as_json)
        return
    steps = history.list(parent=record.run_id)
    if as_json:
        print_json(asdict(record) | {"children": [asdict(one) for one in reversed(steps)]})
        return
    _show(record, list(reversed(steps)))


@runs_command.command("logs")
@_newest_argument
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on until the run has ended.")
@click.option("--agent", is_flag=True, help="What the agent said, not the script.")
@workspace_option
def logs_command(run_id: str | None, follows: bool, agent: bool, workspace_name: str | None) -> int:
    """Show what the script of a run said."""
    from datastores.cli.following import LogTail, follow, writer
    from datastores.submission import look
    from datastores.submission.supervising import place_here

    workspace = find_workspace(workspace_name)
    record = look(workspace, _named(_history(workspace), run_id))
    place = place_here(record)
    if place is None:
        raise NotFound(
            f"run {record.run_id}", None, "its folder is not on this machine; ask where it ran"
        )
    _refuse_pipeline(_history(workspace), record)
    if follows and not agent:
        return follow(workspace, record.run_id, quiet=True).exit_code or 0
    path = place.agent_log if agent else place.output_log
    sys.stdout.flush()
    LogTail(path, writer(sys.stdout.fileno())).advance()
    return 0


@runs_command.command("cancel")
@_run_argument
@click.option("--wait", "waits", is_flag=True, help="Wait until it has ended.")
@workspace_option
@json_option
def cancel_command(run_id: str, waits: bool, workspace_name: str | None, as_json: bool) -> None:
    """End a run, wherever it is.

    Outputs that are kept always are sent first.
    """
    from datastores.cli.following import follow
    from datastores.submission import cancel

    workspace = find_workspace(workspace_name)
    record = cancel(workspace, run_id)
    if waits and not record.is_finished:
        record = follow(workspace, run_id, to_stderr=True, quiet=True)
    _tell(record, as_json=as_json)


@runs_command.command("resume")
@_run_argument
@click.option("-d", "--detach", is_flag=True, help="Only start it.")
@workspace_option
@json_option
def resume_command(run_id: str, detach: bool, workspace_name: str | None, as_json: bool) -> int:
    """Go on with a run that stopped half-way.

    That is one whose runner was killed, or that could not deliver everything.

    A script that was started is never started again.
    """
    from datastores.cli.following import follow
    from datastores.cli.outcomes import print_outcome
    from datastores.submission import resume

    workspace = find_workspace(workspace_name)
    record = resume(workspace, run_id)
    if detach:
        _tell(record, as_json=as_json)
        return 0
    record = follow(workspace, run_id, to_stderr=as_json)
    if as_json:
        print_json(asdict(record))
    else:
        print_outcome(record)
    return record.exit_code or 0


@runs_command.command("clean")
@_run_argument
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@workspace_option
@json_option
def clean_command(
    run_id: str, dry_run: bool, yes: bool, workspace_name: str | None, as_json: bool
) -> None:
    """Remove the working folder of a run that has ended, with what it downloaded.

    Its logs stay, and so does everything that is in stores.
    """
    from datastores.history.cleaning import clean

    record = _history(find_workspace(workspace_name)).get(run_id)
    doomed = clean(record, dry_run=True)
    if not as_json:
        for path in doomed:
            click.echo(f"  goes  {printable(path)}")
        click.echo(f"{counted(len(doomed), 'file')} in the working folder of {record.run_id}")
    if not dry_run:
        if not yes:
            ask("delete them?")
        doomed = clean(record)
    if as_json:
        print_json({"deleted": not dry_run, "run_id": record.run_id, "files": doomed})


@runs_command.command("snapshot")
@_run_argument
@click.argument("folder", default=".", type=click.Path(file_okay=False))
@workspace_option
@json_option
def snapshot_command(run_id: str, folder: str, workspace_name: str | None, as_json: bool) -> None:
    """Bring the source of a run here, as a ZIP.

    It is kept for runs whose configuration names a source_directory_data_store, and for runs of
    start_logging.
    """
    from datastores.history.run import Run

    run = Run.get(find_workspace(workspace_name), run_id)
    path = run.restore_snapshot(path=folder)
    if as_json:
        print_json({"run_id": run.id, "snapshot": run.get_snapshot_id(), "path": path})
    else:
        click.echo(path)


def _history(workspace: Workspace) -> RunHistory:
    from datastores.history.run_history import RunHistory

    return RunHistory(workspace.registry, workspace.name)


def _named(history: RunHistory, run_id: str | None) -> str:
    """The run that is meant: the newest one that is no step where none is named."""
    if run_id is not None:
        return run_id
    for record in history.list(top_level=True, limit=1):
        return record.run_id
    raise NotRegistered("run", "", f'workspace "{history.workspace}"', [])


def _status(text: str) -> str:
    from datastores.history.status import Status

    for one in Status:
        if one.value.lower() == text.lower():
            return one
    known = ", ".join(one.value for one in Status)
    raise click.BadParameter(f'"{text}" is no state; use one of {known}', param_hint="--status")


def _line(record: RunRecord) -> dict[str, Any]:
    return {
        "run": record.run_id,
        "name": record.display_name,
        "experiment": record.experiment,
        "status": record.status.value,
        "created": _moment(record.created),
        "time": _spent(record),
        "script": record.script or " ".join(record.command)[:40] or record.type,
    }


def _show(record: RunRecord, steps: list[RunRecord]) -> None:
    from datastores.cli.outcomes import outcome_lines, phases_text

    report = record.report or {}
    print_facts(
        {
            "run": record.run_id,
            "name": record.display_name,
            "experiment": record.experiment,
            "status": record.status.value,
            "exit code": record.exit_code,
            "reason": record.error,
            "script": record.script,
            "arguments": " ".join(record.command) or None,
            "created": _moment(record.created),
            "began": _moment(record.started),
            "ended": _moment(record.ended),
            "time": _spent(record),
            "where it went": phases_text(report) or None,
            "submitted by": record.submitted_by,
            "tags": record.tags,
            "folder": record.folder,
        }
    )
    if steps:
        click.echo()
        print_table([{"step": one.display_name, **_line(one)} for one in steps], empty="")
    elif record.report:
        click.echo()
        for line in list(outcome_lines(record))[1:]:
            click.echo(line)
    elif record.references:
        click.echo()
        print_table(
            [
                {"name": one.name, "mode": one.mode, "place": f"{one.datastore}:{one.place}"}
                for one in record.references
            ],
            empty="",
        )
    if record.status == "NotResponding":
        click.echo(f"nobody looks after it; go on with: datastores runs resume {record.run_id}")


def _show_versions(workspace: Workspace, record: RunRecord, name: str, *, as_json: bool) -> None:
    """One line for each file: there may be a million, so no table and no list in memory."""
    from datastores.history.input_versions import input_versions

    found = input_versions(workspace, record, name)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        click.echo(f"{printable(one.name)}\t{one.size}\t{one.version or ''}")


def _refuse_pipeline(history: RunHistory, record: RunRecord) -> None:
    from datastores.history.records import STEP_RUN

    steps = [one for one in history.list(parent=record.run_id) if one.type == STEP_RUN]
    if steps:
        listed = ", ".join(f"{one.display_name} ({one.run_id})" for one in reversed(steps))
        raise click.UsageError(f"{record.run_id} is a pipeline; name one of its steps: {listed}")


def _tell(record: RunRecord, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(record))
    else:
        click.echo(f"{record.run_id}: {record.status.value}")


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _spent(record: RunRecord) -> str | None:
    from datastores.cli.outcomes import seconds_text

    if record.started is None:
        return None
    spent: timedelta = (record.ended or datetime.now(UTC)) - record.started
    return seconds_text(max(spent.total_seconds(), 0.0))
