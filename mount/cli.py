"""`datastores-agent`: jobs on a compute node, and the place where its errors become exit codes."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click
from typing_extensions import override

from datastores.errors import DatastoresError
from datastores.secret import redact

if TYPE_CHECKING:
    from mount.agent.report import RunReport
    from mount.agent.settings import Settings

_EPILOG = """
\b
Examples:
  datastores-agent run job.json --folder runs/17
  datastores-agent run - < job.json
  datastores-agent resume runs/17
  datastores-agent doctor

\b
Exit codes: the script's own where it ran and failed (128 and the signal's number where a signal
ended it); otherwise 0 done, 1 a defect of this program, 2 wrong usage, 3 a definition is rejected,
15 version mismatch, 21 the job spec cannot be carried out, 22 an input failed, 23 an output is not
in its store, 25 mounting is refused, 124 the time limit passed, 130 canceled (SIGINT),
137 the agent was killed, 143 ended by a notice (SIGTERM).
"""


@click.group(
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="datastores")
def cli() -> None:
    """Turn a job's references into paths, run its script, bring its results home."""


_folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the run; runs/RUN_ID where nothing is said.",
)
_fallback_option = click.option(
    "--mount-fallback",
    type=click.Choice(["copy", "error"]),
    default="copy",
    show_default=True,
    help="Where nothing can be mounted: copy at the same path, or refuse the job.",
)
_json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the report as JSON on stdout; the script's output then goes to stderr.",
)


@cli.command("run")
@click.argument("spec", type=click.Path(dir_okay=False, allow_dash=True))
@_folder_option
@_fallback_option
@_json_option
def run_command(spec: str, folder: Path | None, mount_fallback: str, as_json: bool) -> int:
    """Carry out the job that SPEC (a file, or - for stdin) describes.

    Where an agent with the same job in the same folder was killed, this one goes on.
    """
    from datastores.contract import from_json
    from mount.agent.run import run as run_job

    job = from_json(_read(spec))
    root = folder or Path("runs") / job.run_id
    with _Voice():
        return _answer(run_job(job, root, _settings(root, mount_fallback, as_json)), as_json)


@cli.command("resume")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@_fallback_option
@_json_option
def resume_command(folder: Path, mount_fallback: str, as_json: bool) -> int:
    """Go on with the run in FOLDER: fetch what is missing, or send what is not in its store.

    A script that was started is not started again.
    After a restart of the machine the leases are gone; give the job to run again instead.
    """
    from mount.agent.run import resume

    with _Voice():
        return _answer(resume(folder, _settings(folder, mount_fallback, as_json)), as_json)


@cli.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@_folder_option
def doctor_command(folder: Path | None, as_json: bool) -> int:
    """Look at what this node has, and say what is missing and what that costs."""
    from mount.agent.doctor import examine

    findings = examine(folder or Path.cwd())
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in findings]))
    else:
        for finding in findings:
            mark = (
                click.style("ok  ", fg="green")
                if finding.is_good
                else click.style("miss", fg="yellow")
            )
            click.echo(f"{mark} {finding.what}: {finding.found}")
            if finding.cost:
                click.echo(f"     {finding.cost}")
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave the process with its exit code."""
    code = run(arguments)
    # Threads that are stuck in the network must not hold up the end, nor must what they hold.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors are one sentence on stderr."""
    try:
        code = cli.main(args=arguments, prog_name="datastores-agent", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DatastoresError as error:
        _complain(error, as_json=_wants_json(arguments))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; what was complete stays, run it again to go on", err=True)
        return 130
    except BrokenPipeError:
        # The reader has seen enough; Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0


def _complain(error: DatastoresError, *, as_json: bool) -> None:
    text = redact(str(error))
    if as_json:
        facts = {"error": type(error).__name__, "message": text, "exit_code": error.exit_code}
        click.echo(json.dumps(facts), err=True)
    else:
        click.echo(click.style("error: ", fg="red", bold=True) + text, err=True)


def _wants_json(arguments: Sequence[str] | None) -> bool:
    return "--json" in (sys.argv[1:] if arguments is None else arguments)


def _read(spec: str) -> bytes:
    if spec == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(spec).read_bytes()
    except OSError as error:
        raise click.BadParameter(f'"{spec}" cannot be read: {error.strerror}') from error


def _settings(folder: Path, mount_fallback: str, as_json: bool) -> Settings:
    from mount.agent.fuse_mounts import FuseMounter
    from mount.agent.settings import MountFallback, Settings

    settings = Settings(
        mount_fallback=MountFallback(mount_fallback), mounter=FuseMounter(folder / "spool")
    )
    return replace(settings, stdout=2) if as_json else settings


def _answer(report: RunReport, as_json: bool) -> int:
    if as_json:
        click.echo(report.to_json())
    return report.exit_code


class _Line(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        return redact(f"datastores-agent: {record.levelname.lower()}: {record.getMessage()}")


class _Voice:
    """What the agent has to say, on stderr, while the block runs."""

    def __enter__(self) -> None:
        self._handler = logging.StreamHandler(sys.stderr)
        self._handler.setFormatter(_Line())
        self._handler.setLevel(logging.WARNING)
        logging.getLogger("mount").addHandler(self._handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logging.getLogger("mount").removeHandler(self._handler)
