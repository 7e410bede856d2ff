"""The compute side's branch of the error tree.

DatastoresError
  MountError
    SpecRejected        fix the job specification
    InputFailed         look at the reference it names
    OutputFailed        look at the output it names; the files are still on the node
    CacheBroken         clear the cache, or give it another folder
    MountRefused        mount as root, install fusermount3, or download instead
    DaemonUnreachable   start the daemon, or run without it (temporary)
    IllegalEvent        a defect: the lifecycle met an event it has no answer to
"""

from __future__ import annotations

from datastores.errors import DatastoresError


class MountError(DatastoresError):
    """Something on the compute node."""

    exit_code = 20


class SpecRejected(MountError, ValueError):
    """A job specification cannot be carried out as it is written."""

    exit_code = 21


class InputFailed(MountError):
    """A reference could not be turned into a path."""

    exit_code = 22

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f'input "{name}" could not be provided: {reason}')


class OutputFailed(MountError):
    """A result did not reach its store; what is on the node stays there."""

    exit_code = 23

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f'output "{name}" is not in its store: {reason}')


class CacheBroken(MountError):
    """The node's cache cannot be used."""

    exit_code = 24

    def __init__(self, folder: str, reason: str) -> None:
        self.folder, self.reason = folder, reason
        super().__init__(f'cache "{folder}": {reason}')


class MountRefused(MountError):
    """Mounting is not possible on this node, for a reason that is named."""

    exit_code = 25

    def __init__(self, mountpoint: str, reason: str) -> None:
        self.mountpoint, self.reason = mountpoint, reason
        super().__init__(f'cannot mount at "{mountpoint}": {reason}')


class DaemonUnreachable(MountError):
    """The node's daemon does not answer."""

    temporary = True
    exit_code = 26


class IllegalEvent(MountError):
    """The lifecycle met an event that its phase has no answer to."""

    exit_code = 27
