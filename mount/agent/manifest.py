"""The last object of an output: names, sizes and checksums of a result that is complete."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

from datastores import keys
from datastores.contract import OutputSpec
from datastores.value import Value
from mount.errors import OutputFailed

NAME = "_manifest.json"
VERSION = 1


class Sent(Value):
    """A file of an output as it was sent; `inode` and `mtime_ns` tell whether it still is that."""

    name: str
    size: int
    mtime_ns: int
    inode: int
    md5: str | None
    version: str | None


def manifest_key(spec: OutputSpec, file_name: str | None) -> str:
    """Where the spec says, or in the folder of the output; beside a single file, after its name."""
    if spec.manifest is not None:
        return keys.parse_place(spec.manifest)
    place = keys.parse_place(spec.place)
    return keys.join(place, f"{file_name}.{NAME}" if file_name else NAME)


def manifest_text(run_id: str, experiment: str, output: str, files: Iterable[Sent]) -> bytes:
    """The manifest; checksums are MD5s of the bytes that were sent, null where nobody knows."""
    listed = sorted(files, key=lambda one: one.name)
    return json.dumps(
        {
            "version": VERSION,
            "run_id": run_id,
            "experiment": experiment,
            "output": output,
            "completed_at": time.time(),
            "bytes": sum(one.size for one in listed),
            "files": [{"name": one.name, "size": one.size, "md5": one.md5} for one in listed],
        },
        indent=1,
    ).encode()


def unsealed(name: str, why: str) -> str:
    """The sentence for a result that nobody can tell to be complete."""
    reason = f"its files are there, and its manifest is not: {why}; resume the run to write it"
    return str(OutputFailed(name, reason))
