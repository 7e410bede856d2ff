"""`run` and `resume`: jobs on this node."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mount.cli.options import folder_option
from mount.cli.voice import Voice

if TYPE_CHECKING:
    from mount.agent.report import RunReport
    from mount.agent.settings import Settings

_fallback_option = click.option(
    "--mount-fallback",
    type=click.Choice(["copy", "error"]),
    default="copy",
    show_default=True,
    help="Where nothing can be mounted: copy at the same path, or refuse the job.",
)
_mounts_option = click.option(
    "--mounts",
    type=click.Choice(["auto", "daemon", "own"]),
    default="auto",
    show_default=True,
    help="Who mounts: this node's daemon where one answers, or the agent itself.",
)
_cache_option = click.option(
    "--cache-downloads",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Downloads through the node's cache, which writes each byte twice: where a daemon says "
    "that jobs share this node, or not.",
)
_json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the report as JSON on stdout; the script's output then goes to stderr.",
)


@click.command("run")
@click.argument("spec", type=click.Path(dir_okay=False, allow_dash=True))
@folder_option
@_fallback_option
@_mounts_option
@_cache_option
# For whoever starts the agent before the job can be told: what to load meanwhile.
@click.option("--expect", "expected", multiple=True, hidden=True)
@_json_option
def run_command(
    spec: str, folder: Path | None, expected: tuple[str, ...], as_json: bool, **choices: str
) -> int:
    """Carry out the job that SPEC (a file, or - for stdin) describes.

    Where an agent with the same job in the same folder was killed, this one goes on.
    """
    from datastores.contract import from_json
    from mount.agent.run import run as run_job

    if expected:
        from mount.agent.preparation import prepare

        prepare(expected)
    job = from_json(_read(spec))
    root = folder or Path("runs") / job.run_id
    with Voice():
        return _answer(run_job(job, root, _settings(root, as_json, **choices)), as_json)


@click.command("resume")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@_fallback_option
@_mounts_option
@_cache_option
@_json_option
def resume_command(folder: Path, as_json: bool, **choices: str) -> int:
    """Go on with the run in FOLDER: fetch what is missing, or send what is not in its store.

    A script that was started is not started again.
    After a restart of the machine the leases are gone; give the job to run again instead.
    """
    from mount.agent.run import resume

    with Voice():
        return _answer(resume(folder, _settings(folder, as_json, **choices)), as_json)


def _read(spec: str) -> bytes:
    if spec == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(spec).read_bytes()
    except OSError as error:
        raise click.BadParameter(f'"{spec}" cannot be read: {error.strerror}') from error


def _settings(
    folder: Path, as_json: bool, *, mount_fallback: str, mounts: str, cache_downloads: str
) -> Settings:
    from mount.agent.node_mounter import MountsBy, NodeMounter
    from mount.agent.settings import MountFallback, Settings

    settings = Settings(
        mount_fallback=MountFallback(mount_fallback),
        mounter=NodeMounter(MountsBy(mounts), folder / "spool"),
    )
    if not _caches(cache_downloads):
        settings = replace(settings, cache_at=None)
    return replace(settings, stdout=2) if as_json else settings


def _caches(choice: str) -> bool:
    if choice != "auto":
        return choice == "always"
    from mount.daemon.home import Home, default_home

    return Home.at(default_home()).is_taken


def _answer(report: RunReport, as_json: bool) -> int:
    if as_json:
        click.echo(report.to_json())
    return report.exit_code
