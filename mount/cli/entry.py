"""The top of the command, and the one place where its errors become exit codes."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from datastores.errors import DatastoresError
from datastores.exits import INTERRUPTED, Exit, exit_of
from datastores.secret import redact

# What programs read as the kind of an error that is none of ours.
_USAGE_ERROR, _INTERRUPTED = "UsageError", "Interrupted"

# Command -> the module that has it, so that one command loads one module.
_COMMANDS = {
    "run": "jobs",
    "resume": "jobs",
    "doctor": "doctor",
    "mount": "mounting",
    "unmount": "mounting",
    "status": "looking",
    "warm": "warming",
    "refresh": "warming",
    "cache": "caching",
    "recover": "recovering",
    "daemon": "serving",
    "completion": "completion",
}

_EPILOG = """
\b
Examples:
  datastores-agent run job.json --folder runs/17
  datastores-agent run - < job.json
  datastores-agent resume runs/17
  datastores-agent doctor
  datastores-agent mount images:train /data/train --read-only
  datastores-agent status /data/train
  datastores-agent unmount /data/train

\b
Exit codes: the script's own where it ran and failed (128 and the signal's number where a signal
ended it); otherwise 0 done, 1 a defect of this program, 2 wrong usage, 3 a definition is rejected,
4 not registered, 6 credential, 7 not found, 8 permission, 9 unavailable, 15 version mismatch,
20 a mount, 21 the job spec cannot be carried out, 22 an input failed, 23 an output is not in its
store, 24 the cache, 25 mounting is refused, 26 no daemon answers, 124 the time limit passed,
130 canceled (SIGINT), 137 the agent was killed, 143 ended by a notice (SIGTERM).
"""


# Loading makes objects that stay; to look through them every 700 is an eighth of a job's start.
_GARBAGE_AFTER = 50_000


class _LazyGroup(click.Group):
    """Knows all commands by name and imports each when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        loaded = importlib.import_module(f"mount.cli.{module}")
        command: click.Command = getattr(loaded, f"{cmd_name}_command")
        return command


@click.group(
    cls=_LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="datastores")
def cli() -> None:
    """Turn a job's references into paths, run its script, bring its results home.

    And mount datastores by hand, look at mounts, and keep this node's cache.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave the process with its exit code."""
    gc.set_threshold(_GARBAGE_AFTER)
    code = run(arguments)
    # Threads that are stuck in the network must not hold up the end, nor must what they hold.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors are one sentence on stderr."""
    try:
        code: Any = cli.main(args=arguments, prog_name="datastores-agent", standalone_mode=False)
    except click.ClickException as error:
        if not _wants_json(arguments):
            error.show()
            return error.exit_code
        told = Exit(_USAGE_ERROR, redact(error.format_message()), error.exit_code)
    except DatastoresError as error:
        told = exit_of(error)
    except (click.Abort, KeyboardInterrupt):
        text = "interrupted; what was complete stays, run it again to go on"
        told = Exit(_INTERRUPTED, text, INTERRUPTED)
    except BrokenPipeError:
        # The reader has seen enough; Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    else:
        return code if isinstance(code, int) else 0
    _complain(told, as_json=_wants_json(arguments))
    return told.exit_code


def _complain(told: Exit, *, as_json: bool) -> None:
    if as_json:
        click.echo(told.to_json(), err=True)
    elif told.error == _INTERRUPTED:
        click.echo(told.message, err=True)
    else:
        click.echo(click.style("error: ", fg="red", bold=True) + told.message, err=True)


def _wants_json(arguments: Sequence[str] | None) -> bool:
    return "--json" in (sys.argv[1:] if arguments is None else arguments)
