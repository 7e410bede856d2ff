"""Opening /dev/fuse, mounting and unmounting: as root by mount(2), else through `fusermount3`."""

from __future__ import annotations

import array
import ctypes
import errno
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from mount.errors import MountError, MountRefused
from mount.fuse.mounts import find_dead_mounts, find_mount
from mount.fuse.options import SUBTYPE, MountOptions

DEVICE = "/dev/fuse"
HELPER = "fusermount3"
# The helper of libfuse 2 speaks the same words over the same socket.
HELPERS = (HELPER, "fusermount")
HELPER_SECONDS = 20.0
INHERITED = re.compile(r"/dev/fd/([0-9]+)")
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOATIME = 1, 2, 4, 1024
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
CAP_SYS_ADMIN = 1 << 21


def open_mount(mountpoint: str, options: MountOptions) -> int:
    """The descriptor that speaks for a new mount; `/dev/fd/N` is one that somebody else made."""
    inherited = INHERITED.fullmatch(mountpoint)
    if inherited:
        return int(inherited[1])
    if not Path(mountpoint).is_dir():
        raise MountRefused(mountpoint, "it is no folder; create it first")
    if may_mount():
        return _mount_directly(mountpoint, options)
    return _mount_by_helper(mountpoint, options)


def unmount(mountpoint: str, *, lazy: bool = False) -> None:
    """Take the mount away; lazily: from the tree now, entirely when the last file is closed."""
    if may_mount():
        flags = UMOUNT_NOFOLLOW | (MNT_DETACH if lazy else 0)
        if _libc().umount2(os.fsencode(mountpoint), flags) == 0:
            return
        number = ctypes.get_errno()
        if number == errno.EBUSY:
            raise MountError(f'"{mountpoint}" is in use; close its files, or unmount it lazily')
        if number != errno.EINVAL:  # EINVAL: nothing is mounted there
            raise MountError(
                f'"{mountpoint}" cannot be unmounted: {os.strerror(number)}; try lazily'
            )
        return
    command = [_helper(mountpoint), "-u", *(["-z"] if lazy else []), "--", mountpoint]
    answer = subprocess.run(  # noqa: S603 - a fixed program, found by name
        command, capture_output=True, text=True, timeout=HELPER_SECONDS, check=False
    )
    if answer.returncode and find_mount(mountpoint):
        raise MountError(f'"{mountpoint}" cannot be unmounted: {answer.stderr.strip()}; try lazily')


def repair(mountpoint: str) -> bool:
    """Clear a place whose server died; False if there was nothing dead."""
    place = find_mount(mountpoint)
    if place is None or place.mountpoint not in find_dead_mounts():
        return False
    unmount(place.mountpoint, lazy=True)
    return True


def why_not(mountpoint: str) -> str | None:
    """The reason why this host cannot mount there; None if it can."""
    if sys.platform != "linux":
        return "mounting needs Linux; download instead"
    if not Path(DEVICE).exists():
        return f"{DEVICE} does not exist; load the kernel's module fuse or give the container --device {DEVICE}"
    if not Path(mountpoint).is_dir():
        return f'"{mountpoint}" is no folder; create it first'
    return _why_not_directly(mountpoint) if may_mount() else _why_not_by_helper()


def _why_not_by_helper() -> str | None:
    if _installed_helper() is None:
        return f"only root may mount here and {HELPER} is not installed; install the package fuse3"
    # The helper opens the device with its caller's rights.
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return f"{DEVICE} may only be opened by root here; make it readable and writable for all"
    return None


def _why_not_directly(mountpoint: str) -> str | None:
    # Only an attempt tells what a container's profile or its device list forbids. Nobody sees
    # this one: it is gone before it is answered.
    try:
        fd = _mount_directly(mountpoint, MountOptions())
    except MountRefused as refused:
        return refused.reason
    unmount(mountpoint, lazy=True)
    os.close(fd)
    return None


def may_mount() -> bool:
    """Whether this process may call mount(2)."""
    with suppress(OSError):
        found = re.search(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
        return bool(found and int(found[1], 16) & CAP_SYS_ADMIN)
    return False


def _mount_directly(mountpoint: str, options: MountOptions) -> int:
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MountRefused(mountpoint, _device_reason(error)) from error
    flags = MS_NOSUID | MS_NODEV | MS_NOATIME | (MS_RDONLY if options.read_only else 0)
    data = f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    words = ",".join([data, *_words(options), f"max_read={options.request_bytes}"])
    failed = _libc().mount(
        options.source.encode(),
        os.fsencode(mountpoint),
        f"fuse.{SUBTYPE}".encode(),
        ctypes.c_ulong(flags),
        words.encode(),
    )
    if failed:
        number = ctypes.get_errno()
        os.close(fd)
        raise MountRefused(mountpoint, _mount_reason(number))
    return fd


def _mount_by_helper(mountpoint: str, options: MountOptions) -> int:
    """The helper is setuid root: it mounts and passes the descriptor back over a socket."""
    helper = _helper(mountpoint)
    words = [
        *_words(options),
        "fsname=" + re.sub(r"([,\\])", r"\\\1", options.source),
        f"subtype={SUBTYPE}",
        f"max_read={options.request_bytes}",
        "nosuid",
        "nodev",
        "noatime",
        *(["ro"] if options.read_only else []),
    ]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        ours.settimeout(HELPER_SECONDS)
        answer = subprocess.run(  # noqa: S603 - a fixed program, found by name
            [helper, "-o", ",".join(words), "--", mountpoint],
            env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            timeout=HELPER_SECONDS,
            check=False,
        )
        theirs.close()
        fd = _received(ours)
    if fd is None:
        reason = answer.stderr.strip() or f"{HELPER} ended with {answer.returncode}"
        raise MountRefused(mountpoint, f"{reason}; run as root, or download instead")
    return fd


def _received(channel: socket.socket) -> int | None:
    size = array.array("i").itemsize
    try:
        _, extras, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(size))
    except OSError:
        return None
    for level, kind, data in extras:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fd = int.from_bytes(data[:size], sys.byteorder)
            os.set_inheritable(fd, False)
            return fd
    return None


def _words(options: MountOptions) -> list[str]:
    # The kernel checks permissions by the modes that it has cached: no ACCESS requests.
    return ["default_permissions", *(["allow_other"] if options.allow_other else [])]


def _helper(mountpoint: str) -> str:
    helper = _installed_helper()
    if helper is None:
        raise MountRefused(mountpoint, f"{HELPER} is not installed; install the package fuse3")
    return helper


def _installed_helper() -> str | None:
    return next(filter(None, map(shutil.which, HELPERS)), None)


def _device_reason(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return f"{DEVICE} does not exist; give the container --device {DEVICE}"
        case errno.ENODEV | errno.ENXIO:
            return "the kernel has no FUSE; load its module fuse, or download instead"
        case _:
            return (
                f"{DEVICE} cannot be opened ({error.strerror}); allow the device for this container"
            )


def _mount_reason(number: int) -> str:
    match number:
        case errno.EPERM | errno.EACCES:
            return "mount(2) is forbidden here; give the container the capability SYS_ADMIN"
        case errno.ENOTCONN:
            return "a mount whose server died is in the way; repair it first"
        case errno.ENODEV:
            return "the kernel has no FUSE; load its module fuse, or download instead"
        case _:
            return f"{os.strerror(number)}; download instead"


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
