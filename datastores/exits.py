"""How a command ends when it fails: a sentence, an exit code, and both as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from datastores.errors import DatastoresError
from datastores.secret import redact
from datastores.value import Value

USAGE = 2
INTERRUPTED = 130


class Exit(Value):
    """What a person or a program is told about one error; never a secret."""

    error: str
    message: str
    exit_code: int

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


def exit_of(error: BaseException) -> Exit:
    """The end that belongs to an error; what is no `DatastoresError` is a defect of the program."""
    code = error.exit_code if isinstance(error, DatastoresError) else DatastoresError.exit_code
    return Exit(type(error).__name__, redact(str(error)), code)
