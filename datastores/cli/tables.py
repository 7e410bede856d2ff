"""Output for people: tables, facts, sizes and small bars."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click


def print_table(rows: Sequence[Mapping[str, Any]], *, empty: str) -> None:
    """Rows under the names of their fields; a sentence when there are none."""
    if not rows:
        click.echo(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row.values()))
    # Whoever reads a pipe wants whole lines, however long.
    console = Console() if sys.stdout.isatty() else Console(width=10_000)
    console.print(table, soft_wrap=False, crop=False)


def print_facts(facts: Mapping[str, Any]) -> None:
    """One fact a line, absent ones left out."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        if value not in (None, {}, []):
            click.echo(click.style(f"{name:<{width}}", bold=True) + f"  {_shown(value)}")


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 file`, `2 files`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def size_text(size: int) -> str:
    """A size as people read it: `1.5 MiB`."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def iso_time(moment: datetime) -> str:
    """A time for programs: ISO 8601, UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def bar(part: int, whole: int, width: int = 20) -> str:
    """A share of a whole as a row of blocks."""
    eighths = round(width * 8 * part / whole) if whole else 0
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width)


def _shown(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{key}={one}" for key, one in value.items())
        case str():
            return value
        case Iterable():
            return ", ".join(str(one) for one in value)
        case _:
            return str(value)
