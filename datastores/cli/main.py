"""`datastores`: the top of the command, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from datastores.errors import DatastoresError
from datastores.exits import INTERRUPTED, USAGE, Exit, exit_of
from datastores.secret import redact

# What programs read as the kind of an error that is none of ours.
_USAGE_ERROR, _INTERRUPTED = "UsageError", "Interrupted"

# Command -> the module that has it, so that one command loads one module.
_COMMANDS = {
    "ws": "workspaces",
    "register": "registering",
    "list": "catalog",
    "show": "catalog",
    "default": "catalog",
    "unregister": "catalog",
    "check": "catalog",
    "ls": "looking",
    "stat": "looking",
    "du": "looking",
    "cat": "looking",
    "cp": "moving",
    "rm": "moving",
    "verify": "moving",
    "repair": "moving",
    "run": "run",
    "runs": "runs",
    "experiments": "experiments",
    "models": "models",
    "quickstart": "quickstart",
    "lease": "lease",
    "completion": "completion",
}

_EPILOG = """
\b
Places are written NAME:PATH, such as images:train/cats; anything else is a local path.
Examples:
  datastores ws create demo
  datastores register blob images --account acme --container pics --account-key env:PICS_KEY
  datastores ls images:train
  datastores cp images:train ./train
  datastores cp ./model images:models/7
  datastores run train.py --input data=images:train -- --data {data}
  datastores quickstart

\b
Exit codes: 0 done, 1 a defect of this program, 2 wrong usage, 3 a name, definition or
configuration is rejected, 4 not registered, 5 already registered, 6 credential, 7 not found,
8 permission, 9 unavailable, 10 some files failed, 11 registry, 12 damaged data, 13 not
supported, 14 exists or changed meanwhile, 15 version mismatch, 16 disk full, 130 interrupted.
"""


class _LazyGroup(click.Group):
    """Knows all commands by name and imports each when it is asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader (head, less) has seen enough. click would call that a failure, and Python
            # would complain when it closes the stream.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from datastores.cli.headings import write_commands

        write_commands(self, ctx, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        loaded = importlib.import_module(f"datastores.cli.{module}")
        command: click.Command = getattr(loaded, f"{cmd_name}_command")
        return command


@click.group(
    cls=_LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="datastores")
def cli() -> None:
    """Register stores once, then move, look at and mount their data by name, and run jobs on it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave the process with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors are one sentence on stderr."""
    # Azure's clients warn in their own words about what our error then says in a sentence.
    logging.getLogger("azure").addHandler(logging.NullHandler())
    logging.getLogger("azure").propagate = False
    try:
        code = cli.main(args=arguments, prog_name="datastores", standalone_mode=False)
    except click.ClickException as error:
        if not _wants_json(arguments):
            error.show()
            return error.exit_code
        told = Exit(_USAGE_ERROR, redact(error.format_message()), error.exit_code)
    except DatastoresError as error:
        told = exit_of(error)
    except click.Abort as error:
        told = _aborted(error)
    else:
        # Some commands end with the exit code of what they started.
        return code if isinstance(code, int) else 0
    _complain(told, as_json=_wants_json(arguments))
    return told.exit_code


def _aborted(error: click.Abort) -> Exit:
    """Somebody interrupted, a question was answered with no, or there was nobody to ask."""
    if isinstance(error.__cause__, KeyboardInterrupt):
        text = "interrupted; what was complete stays, run it again to go on"
        return Exit(_INTERRUPTED, text, INTERRUPTED)
    if sys.stdin.isatty():
        return Exit(_INTERRUPTED, "nothing was done", INTERRUPTED)
    text = "there is no terminal to ask; pass --yes, or give secrets as env:VARIABLE or stdin"
    return Exit(_USAGE_ERROR, text, USAGE)


def _complain(told: Exit, *, as_json: bool) -> None:
    if as_json:
        click.echo(told.to_json(), err=True)
    elif told.error == _INTERRUPTED:
        click.echo(told.message, err=True)
    else:
        click.echo(click.style("error: ", fg="red", bold=True) + told.message, err=True)


def _wants_json(arguments: Sequence[str] | None) -> bool:
    given = list(sys.argv[1:] if arguments is None else arguments)
    # What stands behind "--" belongs to a script.
    return "--json" in given[: given.index("--")] if "--" in given else "--json" in given
