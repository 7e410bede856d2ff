"""`datastores completion`: the script that teaches a shell our commands and names."""

from __future__ import annotations

import click

_LINES = {
    "bash": 'eval "$(datastores completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(datastores completion zsh)"   # in ~/.zshrc',
    "fish": "datastores completion fish | source   # in ~/.config/fish/config.fish",
}


# bash takes a colon for the end of a word; ours joins the words again, and completes behind it.
_BASH = r"""
_datastores_completion() {
    local line=${COMP_LINE:0:COMP_POINT} words cur before kind value
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cur=${words[-1]}
    before=${cur%"${cur##*:}"}
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
        dir) compopt -o dirnames ;;
        file) compopt -o default ;;
        *)
            [[ $value == *[:/] ]] && compopt -o nospace
            COMPREPLY+=("${value#"$before"}")
            ;;
        esac
    done < <(COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) \
        _DATASTORES_COMPLETE=bash_complete "$1")
}
complete -F _datastores_completion datastores
""".strip()


@click.command("completion", epilog="\b\nAdd one of these:\n" + "\n".join(_LINES.values()))
@click.argument("shell", type=click.Choice(list(_LINES)))
def completion_command(shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    from datastores.cli.main import cli

    if shell == "bash":
        click.echo(_BASH)
        return
    completer = get_completion_class(shell)
    assert completer is not None
    click.echo(completer(cli, {}, "datastores", "_DATASTORES_COMPLETE").source())
