"""What mounting needs beside the transfer's tools: a mount helper, libfuse 2 and its binding."""

from __future__ import annotations

import os
import shutil
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tools import Tools, find_tools, run_quietly, say, unpack_debian

_PACKAGES = ("fuse3", "libfuse2", "libfuse3-3")
_FUSEPY = "fusepy==3.0.1"


@dataclass(frozen=True, slots=True)
class MountTools:
    """Where everything is."""

    common: Tools
    # With `fusermount3`, which rclone calls even as root.
    programs: Path
    libfuse: str
    # fsspec's binding has the module name of ours, so it stays out of everybody else's way.
    fusepy: Path

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {**self.common.environment, "PATH": path}

    @property
    def fusepy_environment(self) -> dict[str, str]:
        return {
            **self.environment,
            "PYTHONPATH": str(self.fusepy),
            "FUSE_LIBRARY_PATH": self.libfuse,
        }


def find_mount_tools(cache: Path) -> MountTools:
    """Everything, downloaded if it is not there."""
    common = find_tools(cache)
    unpacked = cache / "debian-fuse"
    installed = shutil.which("fusermount3")
    if not (installed and find_library("fuse")) and not any(unpacked.glob("**/fusermount3")):
        unpack_debian(unpacked, _PACKAGES)
    fusepy = cache / "fusepy"
    if not (fusepy / "fuse.py").is_file():
        say(f"fetching {_FUSEPY}")
        run_quietly(
            *(str(common.python), "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--target", str(fusepy), _FUSEPY),
        )
    helper = Path(installed) if installed else next(unpacked.glob("**/bin/fusermount3"))
    library = find_library("fuse") or str(next(unpacked.glob("**/libfuse.so.2")))
    return MountTools(common, helper.parent, library, fusepy)
