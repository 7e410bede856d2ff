"""Options that many commands share, each declared once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from datastores.cli.tables import iso_time
from datastores.secret import Secret

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace

Command = TypeVar("Command", bound=Callable[..., Any])
Completion = Callable[[click.Context, click.Parameter, str], list[str]]


def workspace_option(command: Command) -> Command:
    """`--workspace`: a name instead of the one the current folder belongs to."""
    return click.option(
        "-w",
        "--workspace",
        "workspace_name",
        metavar="NAME",
        envvar="DATASTORES_WORKSPACE",
        shell_complete=complete_workspace,
        help="Workspace to use; otherwise the one this folder belongs to.",
    )(command)


def json_option(command: Command) -> Command:
    """`--json`: output for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def find_workspace(name: str | None) -> Workspace:
    """The workspace that was named, or the one the current folder belongs to."""
    from datastores.catalog.workspace import Workspace

    return Workspace.get(name) if name else Workspace.from_config()


def ask(question: str) -> None:
    """Go on only after a yes; `click.Abort` otherwise.

    From a pipe the answer is read without the question, which would stand before an error's JSON.
    """
    if sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)
    elif sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise click.Abort


def print_json(value: Any) -> None:
    """A value as one JSON document; times in it are ISO 8601, UTC."""
    click.echo(json.dumps(value, indent=2, default=_plain))


def _plain(value: Any) -> str:
    return iso_time(value) if isinstance(value, datetime) else str(value)


class SecretSource(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """Where a secret comes from; never the secret itself, which argv would show to everybody."""

    name = "prompt|stdin|env:VAR"

    def get_metavar(self, *_: object, **__: object) -> str:
        # click would show it in capitals, which do not work.
        return self.name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Secret:
        if isinstance(value, Secret):
            return value
        source = str(value)
        label = (param.name or "secret").replace("_", " ") if param else "secret"
        if source == "prompt":
            return Secret(click.prompt(label, hide_input=True, err=True))
        if source == "stdin":
            return self._given(sys.stdin.readline().rstrip("\r\n"), "standard input is", param, ctx)
        if source.startswith("env:"):
            variable = source.removeprefix("env:")
            if not variable:
                self.fail("name the variable: env:VARIABLE", param, ctx)
            if variable not in os.environ:
                self.fail(f"${variable} is not set", param, ctx)
            return self._given(os.environ[variable], f"${variable} is", param, ctx)
        return self._refuse(param, ctx)

    def _given(
        self, text: str, place: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Secret:
        if not text:
            self.fail(f"{place} empty", param, ctx)
        return Secret(text)

    def _refuse(self, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
        # What was typed may be the secret, so it is not repeated.
        self.fail(
            "a secret does not go on the command line, where every user of the machine can see "
            'it; write "prompt", "stdin" or "env:VARIABLE"',
            param,
            ctx,
        )


def complete_workspace(
    ctx: click.Context,  # noqa: ARG001  # click's signature
    param: click.Parameter,  # noqa: ARG001  # click's signature
    incomplete: str,
) -> list[str]:
    """Names of this user's workspaces, for the shell."""
    from datastores.catalog.workspace import Workspace

    return [name for name in Workspace.list() if name.startswith(incomplete)]


def completed_from(names: Callable[[Workspace], Iterable[str]]) -> Completion:
    """What a shell offers: those names in the command's workspace that begin as typed."""

    def complete(
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG001  # click's signature
        incomplete: str,
    ) -> list[str]:
        from datastores.errors import DatastoresError

        try:
            found = list(names(find_workspace(ctx.params.get("workspace_name"))))
        except DatastoresError:
            return []  # a completion has nowhere to complain
        return [name for name in found if name.startswith(incomplete)]

    return complete


complete_datastore = completed_from(lambda workspace: workspace.datastores)
