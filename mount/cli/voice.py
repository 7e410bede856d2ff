"""What the agent has to say, on stderr."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from mount.logs import line_formatter


class Voice:
    """What the agent has to say, on stderr, while the block runs."""

    def __enter__(self) -> None:
        self._handler = logging.StreamHandler(sys.stderr)
        self._handler.setFormatter(line_formatter("datastores-agent: %(level)s: %(message)s"))
        self._handler.setLevel(logging.WARNING)
        logging.getLogger("mount").addHandler(self._handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logging.getLogger("mount").removeHandler(self._handler)
