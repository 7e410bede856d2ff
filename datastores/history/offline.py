"""A run that is none: a script started by hand says what it would have logged."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from typing_extensions import override

from datastores.history.entries import Entry
from datastores.history.recorder import Recorder, error_text
from datastores.history.records import RunFile


class OfflineRun(Recorder):
    """Prints what is logged. It has no experiment, as in Azure ML: nothing knows of it."""

    def __init__(self, run_id: str | None = None) -> None:
        self._id = run_id or f"OfflineRun_{uuid.uuid4()}"

    @property
    def id(self) -> str:
        """A made-up id."""
        return self._id

    @override
    def _put(self, entry: Entry) -> None:
        for metric in entry.metrics:
            kind = metric.kind.replace("_", " ")
            _say(f"Attempted to log {kind} metric {metric.name}:\n{metric.value}")
        for word, labels in (("tag", entry.tags), ("property", entry.properties)):
            for name, value in labels.items():
                _say(f"Attempted to set {word} {name} to {value}")
        for name in entry.removed_tags:
            _say(f"Attempted to remove tag {name}")

    @override
    def _keep(self, files: Mapping[str, Path | IO[bytes]], datastore: str | None) -> list[RunFile]:
        for name, source in files.items():
            _say(f"Attempted to track file {name} at {source}")
        return [RunFile(name, 0) for name in files]

    def child_run(
        self,
        name: str | None = None,  # noqa: ARG002  # Azure ML's signature
        run_id: str | None = None,
        outputs: Any = None,  # noqa: ARG002  # Azure ML's signature
    ) -> OfflineRun:
        """Another offline run."""
        return OfflineRun(run_id)

    def create_children(
        self,
        count: int | None = None,
        tag_key: str | None = None,
        tag_values: Sequence[Any] | None = None,
    ) -> list[OfflineRun]:
        """Several of them."""
        children = [OfflineRun() for _ in (tag_values or range(count or 0))]
        for child, value in zip(children, tag_values or (), strict=False):
            child.tag(tag_key or "", value)
        return children

    @override
    def complete(self, _set_status: bool = True) -> None:
        """Nothing."""

    @override
    def fail(
        self, error_details: Any = None, error_code: str | None = None, _set_status: bool = True
    ) -> None:
        """Print the reason."""
        _say(f"Attempted to fail run {self._id}: {error_text(error_details)}")

    def cancel(self) -> None:
        """Nothing: the script itself decides when it ends."""

    def __enter__(self) -> Self:
        _say(f"[START] Run {self._id} context")
        return self

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        _say(f"[STOP] Run {self._id} context")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f'an offline run has no "{name}"; submit the script, or use Workspace.from_config()'
        )

    def __repr__(self) -> str:
        return f"OfflineRun(Id: {self._id})"


def _say(text: str) -> None:
    print(text)  # noqa: T201  # Azure ML's offline run prints
