"""The files that did not arrive, remembered so that a later call does just those."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from datastores.secret import redact
from datastores.transfer import disk


def save_failures(
    folder: Path, failures: Sequence[tuple[str, BaseException]], *, complete: bool
) -> None:
    """Remember these; nothing is kept when there are none.

    `complete` says that every other file was tried: only then are these all that is left to do.
    A folder that cannot be written to keeps nothing, and the error lists them anyway.
    """
    path = folder / disk.FAILURES
    with contextlib.suppress(OSError):
        if not failures and complete:
            path.unlink(missing_ok=True)
            return
        told = [
            {"name": name, "kind": type(error).__name__, "error": redact(str(error))}
            for name, error in failures
        ]
        fresh = path.with_name(path.name + disk.PART)
        fresh.write_text(json.dumps({"complete": complete, "failures": told}, indent=1))
        fresh.replace(path)


def load_failures(folder: Path) -> tuple[str, ...] | None:
    """The names to try again, for `Options.only`; None when only a whole run is sure to do it all."""
    try:
        told = json.loads((folder / disk.FAILURES).read_text())
        names = tuple(str(failure["name"]) for failure in told["failures"])
        return names if told["complete"] is True else None
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError):
        return None
