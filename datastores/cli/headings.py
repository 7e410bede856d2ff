"""The commands of the program, by what a person wants to do."""

from __future__ import annotations

import click

TASKS = {
    "Begin": ("quickstart", "ws"),
    "Datastores of the workspace": ("register", "list", "show", "check", "default", "unregister"),
    "Look at data": ("ls", "stat", "du", "cat"),
    "Move data": ("cp", "rm", "verify", "repair"),
    "Run jobs": ("run", "runs", "experiments", "models", "lease"),
}
REST = "This program"


def write_commands(
    group: click.Group, context: click.Context, formatter: click.HelpFormatter
) -> None:
    """Each command with its sentence, under the heading of its task."""
    names = [name for name in group.list_commands(context) if _shown(group, context, name)]
    placed = {name for task in TASKS.values() for name in task}
    tasks = {**TASKS, REST: tuple(name for name in names if name not in placed)}
    width = formatter.width - 6 - max(map(len, names))
    for heading, wanted in tasks.items():
        rows = [
            # Padded, so that the sentences of all headings stand in one column.
            (name.ljust(max(map(len, names))), _sentence(group, context, name, width))
            for name in wanted
            if name in names
        ]
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows)


def _shown(group: click.Group, context: click.Context, name: str) -> bool:
    command = group.get_command(context, name)
    return command is not None and not command.hidden


def _sentence(group: click.Group, context: click.Context, name: str, width: int) -> str:
    command = group.get_command(context, name)
    return command.get_short_help_str(width) if command else ""
