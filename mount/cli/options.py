"""Options and values that several commands share, each declared once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

_SIZE = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGTP]?)(?P<binary>i?)B?\Z", re.IGNORECASE
)
_POWERS = "KMGTP"

folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the run; runs/RUN_ID where nothing is said.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
state_option = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DATASTORES_AGENT_STATE",
    help="The daemon's folder, where this user has several.",
)
cache_option = click.option(
    "--cache",
    "cache_at",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DATASTORES_CACHE",
    help="The cache's folder, on a local disk; otherwise this user's.",
)


class Size(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """A number of bytes, such as 10GiB, 500MB or 1T."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _SIZE.match(str(value).strip())
        if not found:
            self.fail(f'"{value}" is no size; write for instance 10GiB', param, ctx)
        unit = found["unit"].upper()
        power = _POWERS.index(unit) + 1 if unit else 0
        base = 1024 if found["binary"] else 1000
        return int(float(found["number"]) * base**power)


class Permissions(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """Permission bits in octal, such as 022."""

    name = "octal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"[0-7]{1,4}", str(value)):
            self.fail(f'"{value}" are no permission bits; write for instance 022', param, ctx)
        return int(str(value), 8)


def print_json(value: Any) -> None:
    """A value as one JSON document."""
    click.echo(json.dumps(value, indent=2, default=str))


def absolute(path: Path) -> Path:
    """The path as the kernel's mount list has it, without asking what lies there: it may hang."""
    path = path.expanduser()
    return path.parent.resolve() / path.name if path.name else path.resolve()
