"""File systems that die in this process, as if it had been killed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mount.fs.revival import RevivableFileSystem
from mount.fs.second_life import Held
from tests.mount.fs.kernel import OpenFile


def held_by_kernel(files: Iterable[OpenFile]) -> list[Held]:
    """Open files as the adapter's own notes have them."""
    return [
        Held(one.opened.handle, one.inode, one.access, is_folder=False, is_backed=one.backed)
        for one in files
    ]


def bury(fs: RevivableFileSystem) -> None:
    """What the kernel does for a process that was killed: its threads end, its files close."""
    fs._crew.shutdown(wait=True)
    fs._notices.stop(10)
    spool = str(fs._spool.folder.resolve())
    for path in list(Path("/proc/self/fd").iterdir()):
        with suppress(FileNotFoundError):  # that of the list itself
            if str(path.readlink()).startswith(f"{spool}/"):
                os.close(int(path.name))
    for content in list(fs._contents._open.values()):
        if content.reader:
            content.reader.close()
        if content.cached:
            content.cached.close()
    for handle in fs._handles.all_files():
        for one in (handle.content, handle.backing):
            if one and one.cached:
                one.cached.close()
