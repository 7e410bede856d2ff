"""What the agent has to say, on stderr."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from typing_extensions import override

from datastores.secret import redact


class _Line(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        return redact(f"datastores-agent: {record.levelname.lower()}: {record.getMessage()}")


class Voice:
    """What the agent has to say, on stderr, while the block runs."""

    def __enter__(self) -> None:
        self._handler = logging.StreamHandler(sys.stderr)
        self._handler.setFormatter(_Line())
        self._handler.setLevel(logging.WARNING)
        logging.getLogger("mount").addHandler(self._handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logging.getLogger("mount").removeHandler(self._handler)
