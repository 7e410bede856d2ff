"""A control: a peer whose figures must be thrown away, or the rules are worth nothing."""

from __future__ import annotations

from benchmarks.peers.peer import Command, Task
from benchmarks.tools import Tools

_SCRIPT = 'cp --recursive "$0/." "$1" && find "$1" -type f | sort | head -1 | xargs -I{} truncate --size=-1 {}'


class Liar:
    """Takes the files from behind the endpoint, damages one, and says that all went well."""

    name = "liar"
    settings = "cp, and one byte less"
    uses_network = True

    def version_command(self, tools: Tools) -> Command:
        del tools
        return Command(["cp", "--version"])

    def command(self, task: Task) -> Command:
        return Command(["sh", "-c", _SCRIPT, str(task.floor), str(task.folder)])
