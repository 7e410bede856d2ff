"""AzCopy, which tunes itself."""

from __future__ import annotations

from benchmarks.peers.peer import Command, Direction, Task
from benchmarks.tools import Tools

_FLAGS = ("--recursive", "--skip-version-check", "--log-level=NONE", "--output-level=essential")


class Azcopy:
    """`azcopy copy` with a SAS URL; its plans and logs go to the scratch folder."""

    name = "azcopy"
    settings = "azcopy copy " + " ".join(_FLAGS)
    uses_network = True

    def version_command(self, tools: Tools) -> Command:
        return Command([str(tools.azcopy), "--version"], tools.environment)

    def command(self, task: Task) -> Command:
        address, folder = task.address, task.folder
        if task.direction is Direction.DOWNLOAD:
            ends = [f"{address.container_url}/*?{address.sas}", str(folder), "--from-to=BlobLocal"]
        else:
            ends = [f"{folder}/*", f"{address.container_url}?{address.sas}", "--from-to=LocalBlob"]
        return Command(
            [str(task.tools.azcopy), "copy", *ends, *_FLAGS],
            {
                **task.tools.environment,
                "AZCOPY_LOG_LOCATION": str(task.scratch / "azcopy"),
                "AZCOPY_JOB_PLAN_LOCATION": str(task.scratch / "azcopy"),
            },
        )
