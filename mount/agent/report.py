"""What a run came to, for people and programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class ReferenceReport:
    """What became of one input or output."""

    name: str
    # "mount", "download", "rows" or "upload": what happened, which is not always what was asked.
    how: str
    path: str
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    state: str = "waiting"
    reason: str | None = None
    counters: Mapping[str, int | float] = field(default_factory=dict)
    # What the counters come to, as `mount.report` says it; of mounts and downloads.
    data: Mapping[str, Any] = field(default_factory=dict)
    # Of inputs of a script that was started: files, bytes, the digest of their list of versions
    # and where that is; or that they are not known, and why.
    versions: Mapping[str, Any] = field(default_factory=dict)

    def summarise(self) -> None:
        """Fill in the data report."""
        if self.counters:
            from mount.report import summarise

            counted = dict(self.counters)
            if self.how == "download":
                # A job waits for the whole of a download, and reads all of it.
                counted |= {"bytes_read": self.bytes, "blocked_seconds": self.seconds}
            self.data = summarise(counted).as_dict()


@dataclass(slots=True)
class RunReport:
    """One agent's work on one run; a resumed run has the last agent's."""

    run_id: str
    status: str
    exit_code: int
    # Why it ended otherwise than by the script's own exit: canceled, terminated, timed out, ...
    ending: str | None
    started_at: float
    seconds: float
    # Seconds in each phase.
    phases: Mapping[str, float]
    inputs: list[ReferenceReport]
    outputs: list[ReferenceReport]
    failures: list[str]
    warnings: list[str]
    # Whether a resume would find nothing left to do.
    is_settled: bool

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    def save(self, path: Path) -> None:
        """Write it beside the old one, then in its place."""
        fresh = path.with_suffix(".new")
        fresh.write_text(self.to_json() + "\n", encoding="utf-8")
        fresh.replace(path)


def load_report(path: Path) -> RunReport | None:
    """The report of an earlier agent, if one came so far."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    for side in ("inputs", "outputs"):
        raw[side] = [ReferenceReport(**one) for one in raw[side]]
    return RunReport(**raw)
