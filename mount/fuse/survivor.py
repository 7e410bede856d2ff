"""Outlives the server of a mount, however that dies, and cuts what is left of its connection.

A killed process leaves its descriptors, unless the kernel holds it. The herald may be held, for
something that a caller has who waits for the server: with the server gone for good the one would
wait for the other for ever, and no signal would end either.
"""

from __future__ import annotations

import logging
import os
from typing import Self

from datastores.transfer.children import Child, keep_only
from mount.fuse.connection import Connection

log = logging.getLogger(__name__)

_END_SECONDS = 1.0


class Survivor:
    """The process; it acts when everybody who inherited this object's descriptor is gone.

    It has the connection's switch open and nothing else, and is no part of the server's session:
    what ends the whole group spares it.
    """

    def __init__(self, child: Child, life: int) -> None:
        self._child = child
        self._life = life

    @classmethod
    def fork(cls, connection: Connection) -> Self | None:
        """Begin; None where the host lets us cut no connection. `OSError` where it cannot fork."""
        switch = connection.switch
        if switch is None:
            return None
        ends, life = os.pipe()
        try:
            return cls(Child.fork(lambda: _wait(ends, switch)), life)
        except OSError:
            os.close(life)
            raise
        finally:
            os.close(ends)

    def end(self) -> None:
        """The connection is cut now, if it still is one."""
        os.close(self._life)
        self._child.end(_END_SECONDS)


def _wait(ends: int, switch: int) -> None:
    os.setsid()
    keep_only({2, ends, switch})
    os.read(ends, 1)
    os.write(switch, b"1")
