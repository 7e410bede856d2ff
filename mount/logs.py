"""How the compute plane writes its logs: a line each, masked, as text or as JSON."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime

from typing_extensions import override

from datastores.secret import redact

# `json` for programs that collect logs.
VARIABLE = "DATASTORES_LOG"
_LONG = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
_MOMENT = "%Y-%m-%dT%H:%M:%S%z"


def line_formatter(text: str = _LONG) -> logging.Formatter:
    """Lines of this form, or of JSON where `DATASTORES_LOG` says so; secrets are masked.

    Beside the names that `logging` knows there is `level`, in lower case.
    """
    return _Json() if os.environ.get(VARIABLE) == "json" else _Text(text, _MOMENT)


class _Text(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        record.__dict__["level"] = record.levelname.lower()
        return redact(super().format(record))


class _Json(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        facts = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": record.process,
            "part": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            facts["trace"] = self.formatException(record.exc_info)
        # Masked before it is quoted: quoting could hide a secret from the mask.
        return json.dumps(
            {name: redact(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
        )
