"""Whoever mounts on this node: its daemon where one answers, else this process."""

from __future__ import annotations

import enum
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from mount.agent.mounting import Mounted, Mounter, MountWish, NoMounter
from mount.errors import DaemonUnreachable

log = logging.getLogger(__name__)


class MountsBy(enum.Enum):
    """Who is to make the mounts of a job."""

    # The daemon where there is one, so that mounts outlive the agent and jobs share them.
    AUTO = "auto"
    DAEMON = "daemon"
    # Threads of the agent: nothing else has to run, and nothing is left when it ends.
    OWN = "own"


@dataclass(slots=True)
class NodeMounter:
    """Chosen at the first question, so that a job without mounts loads nothing of them.

    Spools of own mounts are below `spools`.
    """

    by: MountsBy
    spools: Path
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    # Both under the lock.
    _chosen: Mounter | None = field(default=None, repr=False)
    _own: Mounter | None = field(default=None, repr=False)

    def refusal(self) -> str | None:
        return self._choice().refusal()

    def mount(self, wish: MountWish) -> Mounted:
        try:
            return self._choice().mount(wish)
        except DaemonUnreachable as error:
            if self.by is not MountsBy.AUTO:
                raise
            log.warning('"%s" is mounted by the agent itself: %s', wish.name, error)
            return self._by_ourselves().mount(wish)

    def _choice(self) -> Mounter:
        with self._lock:
            if self._chosen is None:
                self._chosen = self._choose()
            return self._chosen

    def _choose(self) -> Mounter:
        if self.by is not MountsBy.OWN and may_have_a_daemon():
            # Only now: loading what talks to it takes a tenth of the start of a job.
            from mount.daemon.client import find_daemon

            daemon = find_daemon()
            if daemon is not None and (self.by is MountsBy.DAEMON or daemon.refusal() is None):
                return daemon
        if self.by is MountsBy.DAEMON:
            return NoMounter(
                'no daemon answers on this node; start it with "datastores-agent daemon"'
            )
        return self._made()

    def _by_ourselves(self) -> Mounter:
        with self._lock:
            return self._made()

    def _made(self) -> Mounter:
        from mount.agent.fuse_mounts import FuseMounter

        if self._own is None:
            self._own = FuseMounter(self.spools)
        return self._own


def may_have_a_daemon() -> bool:
    """Whether it is worth asking for a daemon."""
    from mount.daemon.home import Home, default_home

    return Home.at(default_home()).socket_path.exists()
