"""How a job's path shows a shared mount: a bind mount as root, a symbolic link otherwise."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from mount.errors import MountRefused
from mount.fuse import device
from mount.fuse.mounts import MOUNTINFO, find_mount, parse_mountinfo

_MS_BIND = 4096


def link(at: Path, mountpoint: Path) -> None:
    """Let the path show the mount; one that does already is fine, a dead mount is cleared first."""
    if find_mount(str(at)) is not None:
        device.repair(str(at))
    try:
        if device.may_mount():
            _bind(at, mountpoint)
        else:
            _point(at, mountpoint)
    except OSError as error:
        raise MountRefused(str(at), f"{error.strerror}; choose another path") from error


def unlink(at: Path, mountpoint: Path) -> None:
    """Take the mount away from the path, also while files are open; what is not there is fine."""
    if at.is_symlink():
        if at.readlink() == mountpoint:
            at.unlink(missing_ok=True)
        return
    if find_mount(str(at)) is not None and device.may_mount():
        device.unmount(str(at), lazy=True)


def unlink_all(mountpoint: Path) -> None:
    """The same for every other path that shows the mount: it cannot end while one does."""
    wanted = find_mount(str(mountpoint))
    if wanted is None or not device.may_mount():
        return
    for line in parse_mountinfo(MOUNTINFO.read_text(errors="surrogateescape")):
        if line.device == wanted.device and line.mountpoint != wanted.mountpoint:
            device.unmount(line.mountpoint, lazy=True)


def _bind(at: Path, mountpoint: Path) -> None:
    shown, wanted = find_mount(str(at)), find_mount(str(mountpoint))
    if wanted is None:
        raise MountRefused(str(at), "its mount has gone; try again")
    if shown is not None:
        if shown.device == wanted.device:
            return
        raise MountRefused(str(at), "something else is mounted there; unmount it first")
    at.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    source, target = os.fsencode(mountpoint), os.fsencode(at)
    if libc.mount(source, target, None, ctypes.c_ulong(_MS_BIND), None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(at))


def _point(at: Path, mountpoint: Path) -> None:
    if at.is_symlink() and at.readlink() == mountpoint:
        return
    at.parent.mkdir(parents=True, exist_ok=True)
    if at.is_dir() and not at.is_symlink():
        at.rmdir()  # refused by the kernel unless it is empty
    at.symlink_to(mountpoint, target_is_directory=True)
