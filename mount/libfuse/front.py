"""The process that libfuse runs in: it hands each call over and answers with what comes back.

Usage, by `mounted` alone: python -m mount.libfuse.front CONTROL-DESCRIPTOR MOUNTPOINT OPTIONS

A process of its own because fuse-python serves one mount per process and keeps its callbacks in
global variables. It knows nothing of stores and imports nothing heavy.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from mount.libfuse import wire

SECOND = 1_000_000_000
BLOCK = 4096
# The interface of fuse-python that is used here; it wants to be told.
API_VERSION = (0, 2)


class Record:
    """What fuse-python reads the fields of a C structure from."""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


# Told of no name at all, libfuse takes the listing for one that it keeps itself, and answers every
# later seekdir with nothing. A name that fits into no answer is left out, and prevents that.
BEYOND = Record(name="/" * (256 << 10), ino=0, type=0, offset=(1 << 62))


class Lines:
    """Connections to the file system's process, as many as there are calls at the same time."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self._idle: list[socket.socket] = []  # append and pop are atomic

    def ask(self, *request: object) -> Any:
        """The answer; OSError with the number that the program is to see."""
        line = self._taken()
        wire.send(line, request)
        number, answer = wire.receive(line)
        self._idle.append(line)
        if number:
            raise OSError(number, os.strerror(number))
        return answer

    def ask_for_file(self, *request: object) -> tuple[Any, int | None]:
        """The same for an answer that may bring a descriptor."""
        line = self._taken()
        wire.send(line, request)
        (number, answer), fd = wire.receive_with_fd(line)
        self._idle.append(line)
        if number:
            raise OSError(number, os.strerror(number))
        return answer, fd

    def _taken(self) -> socket.socket:
        try:
            return self._idle.pop()
        except IndexError:
            ours, theirs = wire.pair()
            with theirs:
                socket.send_fds(self.control, [wire.LINE], [theirs.fileno()])
            return ours


class File:
    """An open file; libfuse reads the two flags."""

    __slots__ = ("direct_io", "fd", "is_new", "keep_cache", "number", "writes")

    def __init__(self, answer: tuple[int, bool, bool], flags: int, fd: int | None) -> None:
        self.number, self.keep_cache, self.direct_io = answer
        self.writes = flags & os.O_ACCMODE != os.O_RDONLY
        self.fd = fd
        # Made, and not closed by anybody yet.
        self.is_new = False


class Front:
    """libfuse's operations, under the names that fuse-python looks for."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.lines = Lines(control)

    def operations(self) -> dict[str, Callable[..., Any]]:
        """Every operation; what is missing libfuse answers by itself, with ENOSYS."""
        ask, path = self.lines.ask, os.fsencode
        return {
            "fsinit": self.fsinit,
            "getattr": lambda at: _status(ask("getattr", path(at))),
            "fgetattr": lambda _at, file: _status(ask("fgetattr", file.number)),
            "readlink": lambda at: os.fsdecode(ask("readlink", path(at))),
            "opendir": lambda at: Record(number=ask("opendir", path(at))),
            "readdir": self.readdir,
            "releasedir": lambda _at, folder: ask("releasedir", folder.number),
            "mknod": lambda at, mode, _device: ask("mknod", path(at), mode),
            "mkdir": lambda at, mode: ask("mkdir", path(at), mode),
            "unlink": lambda at: ask("unlink", path(at)),
            "rmdir": lambda at: ask("rmdir", path(at)),
            "symlink": lambda target, at: ask("symlink", path(target), path(at)),
            "rename": lambda at, to: ask("rename", path(at), path(to)),
            "link": lambda _at, _to: -errno.EPERM,
            "chmod": lambda at, mode: ask("chmod", path(at), mode),
            "chown": lambda at, owner, group: ask("chown", path(at), owner, group),
            "truncate": lambda at, size: ask("truncate", path(at), size),
            "ftruncate": lambda _at, size, file: ask("ftruncate", file.number, size),
            "utimens": lambda at, _read, changed: ask(
                "utimens", path(at), changed.tv_sec * SECOND + changed.tv_nsec
            ),
            "open": self.open,
            "create": self.create,
            "read": self.read,
            "write": lambda _at, data, offset, file: ask("write", file.number, data, offset),
            "flush": self.flush,
            "fsync": lambda _at, _data_only, file: ask("fsync", file.number),
            "release": self.release,
            "statfs": self.statfs,
        }

    def fsinit(self) -> None:
        self.control.send(wire.READY)

    def readdir(self, _path: str, cookie: int, folder: Record) -> list[Record]:
        lines = self.lines.ask("readdir", folder.number, cookie)  # type: ignore[attr-defined]  # set by opendir
        if not lines:
            return [BEYOND]
        return [
            Record(name=os.fsdecode(name), ino=inode, type=mode, offset=at)
            for name, inode, mode, at in lines
        ]

    def open(self, path: str, flags: int) -> File:
        answer, fd = self.lines.ask_for_file("open", os.fsencode(path), flags)
        return File(answer, flags, fd)

    def create(self, path: str, flags: int, mode: int) -> File:
        file = File(self.lines.ask("create", os.fsencode(path), flags, mode), flags, None)
        file.is_new = True
        return file

    def read(self, _path: str, size: int, offset: int, file: File) -> bytes:
        if file.fd is not None:
            return os.pread(file.fd, size, offset)
        answer: bytes = self.lines.ask("read", file.number, size, offset)
        return answer

    def flush(self, _path: str, file: File) -> None:
        file.is_new = False
        if file.writes:
            self.lines.ask("flush", file.number)

    def release(self, path: str, _flags: int, file: File) -> None:
        if file.fd is not None:
            os.close(file.fd)
        try:
            # Where mknod is asked for, libfuse creates and releases: nobody ever closes it.
            if file.is_new:
                self.flush(path, file)
        finally:
            self.lines.ask("release", file.number)

    def statfs(self) -> Record:
        total, free, files, free_files, longest = self.lines.ask("statfs")
        return Record(
            f_bsize=BLOCK,
            f_frsize=BLOCK,
            f_blocks=total,
            f_bfree=free,
            f_bavail=free,
            f_files=files,
            f_ffree=free_files,
            f_favail=free_files,
            f_flag=0,
            f_namemax=longest,
        )


def main(arguments: list[str]) -> None:
    """Mount, and serve until the mount is gone or the file system's process is."""
    number, mountpoint, options = arguments
    control = socket.socket(fileno=int(number))
    threading.Thread(target=_end_with, args=(control,), daemon=True).start()
    fuse: Any = importlib.import_module("fuse")
    fuse.fuse_python_api = API_VERSION
    server = fuse.Fuse()
    for name, operation in Front(control).operations().items():
        setattr(server, name, _answering(operation) if name != "fsinit" else operation)
    server.main([sys.argv[0], mountpoint, "-f", "-o", options])


def _answering(operation: Callable[..., Any]) -> Callable[..., Any]:
    def answer(*arguments: object) -> Any:
        try:
            return operation(*arguments)
        except OSError as error:
            return -(error.errno or errno.EIO)
        except EOFError:
            return -errno.ENOTCONN  # this process is about to end

    return answer


def _status(numbers: tuple[int, ...]) -> Record:
    inode, mode, links, owner, group, size, modified, changed = numbers
    return Record(
        st_ino=inode,
        st_mode=mode,
        st_nlink=links,
        st_uid=owner,
        st_gid=group,
        st_size=size,
        st_atime=modified,
        st_mtime=modified,
        st_ctime=changed,
        st_dev=0,
    )


def _end_with(control: socket.socket) -> None:
    """Without a file system each access shall fail, which it does when this process ends."""
    control.recv(1)
    os._exit(1)


if __name__ == "__main__":
    # A Ctrl-C for the whole group is for the other process, which unmounts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(sys.argv[1:])
