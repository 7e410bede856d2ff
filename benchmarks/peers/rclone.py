"""rclone, with more transfers at once than its default of four."""

from __future__ import annotations

from benchmarks.peers.peer import Command, Direction, Task
from benchmarks.tools import Tools

_FLAGS = (
    "--transfers=32",
    "--checkers=32",
    "--multi-thread-streams=8",
    "--multi-thread-cutoff=64M",
    "--azureblob-upload-concurrency=16",
)


class Rclone:
    """`rclone copy` with the backend `azureblob` and a SAS URL."""

    name = "rclone"
    settings = "rclone copy " + " ".join(_FLAGS)
    uses_network = True

    def version_command(self, tools: Tools) -> Command:
        return Command([str(tools.rclone), "version"], tools.environment)

    def command(self, task: Task) -> Command:
        remote = f":azureblob:{task.address.container}"
        there_and_back = (remote, str(task.folder))
        if task.direction is Direction.UPLOAD:
            there_and_back = (str(task.folder), remote)
        return Command(
            [str(task.tools.rclone), "copy", *there_and_back, *_FLAGS],
            {
                **task.tools.environment,
                "RCLONE_CONFIG": "/dev/null",
                "RCLONE_AZUREBLOB_SAS_URL": f"{task.address.container_url}?{task.address.sas}",
            },
        )
