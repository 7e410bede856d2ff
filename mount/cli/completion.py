"""`completion`: the script that teaches a shell our commands."""

from __future__ import annotations

import click

_LINES = {
    "bash": 'eval "$(datastores-agent completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(datastores-agent completion zsh)"   # in ~/.zshrc',
    "fish": "datastores-agent completion fish | source   # in ~/.config/fish/config.fish",
}


@click.command("completion", epilog="\b\nAdd one of these:\n" + "\n".join(_LINES.values()))
@click.argument("shell", type=click.Choice(list(_LINES)))
def completion_command(shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    from mount.cli.entry import cli

    completer = get_completion_class(shell)
    assert completer is not None
    click.echo(completer(cli, {}, "datastores-agent", "_DATASTORES_AGENT_COMPLETE").source())
