"""cp: no network, no requests; what reading and writing the files costs by itself."""

from __future__ import annotations

from benchmarks.peers.peer import Command, Direction, Task
from benchmarks.tools import Tools


class Copy:
    """`cp --recursive` between the same two folders that the others connect."""

    name = "cp"
    settings = "cp --recursive"
    uses_network = False

    def version_command(self, tools: Tools) -> Command:
        del tools
        return Command(["cp", "--version"])

    def command(self, task: Task) -> Command:
        source, target = task.floor, task.folder
        if task.direction is Direction.UPLOAD:
            source, target = task.folder, task.floor
        return Command(["cp", "--recursive", f"{source}/.", str(target)])
