"""What every kind of run offers to those who log: metrics, files, tags. Azure ML's names."""

from __future__ import annotations

import abc
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from datastores.errors import DefinitionRejected, NameRejected
from datastores.history.entries import Entry
from datastores.history.events import file_name, label_name
from datastores.history.metrics import Metric, MetricKind, plain_value, scalar
from datastores.history.records import RunFile
from datastores.history.showing import stored_text

_NOT_IN_FILE_NAMES = re.compile(r"[^\w.-]+")


class Recorder(abc.ABC):
    """Logs in Azure ML's words; where it goes is each kind's own affair."""

    @property
    @abc.abstractmethod
    def id(self) -> str:
        """The run's id."""

    @abc.abstractmethod
    def _put(self, entry: Entry) -> None:
        """Write it down."""

    @abc.abstractmethod
    def _keep(self, files: Mapping[str, Path | IO[bytes]], datastore: str | None) -> list[RunFile]:
        """Copy files to those of the run, by the names they get."""

    # Metrics.

    def log(self, name: str, value: Any, description: str = "", step: int | None = None) -> None:
        """Log a number or a text; several under one name are a series."""
        self._log(MetricKind.SCALAR, name, scalar(name, value), description, step)

    def log_list(self, name: str, value: Any, description: str = "") -> None:
        """Log several values at once."""
        plain = plain_value(name, value)
        if not isinstance(plain, list):
            raise DefinitionRejected(
                name, f"log_list takes a list and not a {type(value).__name__}; use log"
            )
        self._log(MetricKind.LIST, name, plain, description)

    def log_row(self, name: str, description: str | None = None, **kwargs: Any) -> None:
        """Log a row of a table, one value for each column; the next call adds a row."""
        if not kwargs:
            raise DefinitionRejected(name, "a row has no columns; give them as name=value")
        row = {column: scalar(name, value) for column, value in kwargs.items()}
        self._log(MetricKind.ROW, name, row, description or "")

    def log_table(self, name: str, value: Mapping[str, Any], description: str = "") -> None:
        """Log a table: columns by name, each a value or a list of values."""
        if not isinstance(value, Mapping):
            raise DefinitionRejected(
                name, f"log_table takes a dictionary of columns and not a {type(value).__name__}"
            )
        self._log(MetricKind.TABLE, name, plain_value(name, value), description)

    def log_image(
        self,
        name: str,
        path: str | os.PathLike[str] | IO[bytes] | None = None,
        plot: Any = None,
        description: str = "",
    ) -> None:
        """Log a picture: a file, or a plot with matplotlib's `savefig`."""
        if (path is None) == (plot is None):
            raise DefinitionRejected(name, "give a path or a plot, exactly one")
        source = _picture(plot) if path is None else _source(name, path)
        suffix = source.suffix if isinstance(source, Path) else ".png"
        slug = _NOT_IN_FILE_NAMES.sub("_", name) or "image"
        place = f"images/{slug}_{time.time_ns() // 1000}{suffix}"
        self._keep({place: source}, None)
        self._log(MetricKind.IMAGE, name, place, description)

    def log_accuracy_table(self, name: str, value: Any, description: str = "") -> None:
        """Log an accuracy table in Azure ML's JSON form."""
        self._log(MetricKind.ACCURACY_TABLE, name, _chart(name, value), description)

    def log_confusion_matrix(self, name: str, value: Any, description: str = "") -> None:
        """Log a confusion matrix in Azure ML's JSON form."""
        self._log(MetricKind.CONFUSION_MATRIX, name, _chart(name, value), description)

    def log_predictions(self, name: str, value: Any, description: str = "") -> None:
        """Log predictions in Azure ML's JSON form."""
        self._log(MetricKind.PREDICTIONS, name, _chart(name, value), description)

    def log_residuals(self, name: str, value: Any, description: str = "") -> None:
        """Log residuals in Azure ML's JSON form."""
        self._log(MetricKind.RESIDUALS, name, _chart(name, value), description)

    def _log(
        self, kind: MetricKind, name: str, value: Any, description: str, step: int | None = None
    ) -> None:
        if not isinstance(name, str) or not name:
            raise NameRejected("metric", str(name), "use a text with something in it")
        metric = Metric(
            stored_text(name),
            kind,
            value,
            None if step is None else int(step),
            stored_text(description),
        )
        self._put(Entry(self.id, metrics=(metric,)))

    # Files.

    def upload_file(
        self,
        name: str,
        path_or_stream: str | os.PathLike[str] | IO[bytes],
        datastore_name: str | None = None,
    ) -> RunFile:
        """Keep a file, or what a stream gives, under this name with the run."""
        return self._keep({file_name(name): _source(name, path_or_stream)}, datastore_name)[0]

    def upload_files(
        self,
        names: Sequence[str],
        paths: Sequence[str | os.PathLike[str]],
        return_artifacts: bool = False,  # noqa: ARG002  # Azure ML's; they are always returned
        timeout_seconds: float | None = None,  # noqa: ARG002  # Azure ML's; stores have their own patience
        datastore_name: str | None = None,
    ) -> list[RunFile]:
        """Keep several files, each under its name."""
        if len(names) != len(paths):
            raise DefinitionRejected(
                self.id, f"{len(names)} names for {len(paths)} paths; give one for each"
            )
        named = zip(names, paths, strict=True)
        return self._keep(
            {file_name(name): _source(name, path) for name, path in named}, datastore_name
        )

    def upload_folder(
        self, name: str, path: str | os.PathLike[str], datastore_name: str | None = None
    ) -> list[RunFile]:
        """Keep everything in a folder, below this name."""
        folder = Path(os.fspath(path)).expanduser()
        if not folder.is_dir():
            raise DefinitionRejected(name, f'"{path}" is not a folder; name one to upload')
        place = file_name(name)
        return self._keep(
            {f"{place}/{inside}": file for inside, file in files_in(folder)}, datastore_name
        )

    # Labels.

    def tag(self, key: str, value: Any = None) -> None:
        """Put a tag, over an earlier one of this name."""
        self._put(Entry(self.id, tags=_labels({key: value})))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Put tags; others stay."""
        self._put(Entry(self.id, tags=_labels(tags)))

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Take tags away."""
        names = [tags] if isinstance(tags, str) else tags
        self._put(Entry(self.id, removed_tags=tuple(label_name(name) for name in names)))

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Add properties, which never change."""
        labels = {name: value or "" for name, value in _labels(properties).items()}
        self._put(Entry(self.id, properties=labels))

    # Ends.

    @abc.abstractmethod
    def complete(self) -> None:
        """Say that it ended well."""

    @abc.abstractmethod
    def fail(self, error_details: Any = None, error_code: str | None = None) -> None:
        """Say that it ended badly, and why."""

    def flush(self, timeout_seconds: float = 300) -> None:  # noqa: B027  # nothing waits; each call has written what it was given
        """Nothing to wait for: what was logged is written when its call returns."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.complete()
        else:
            self.fail(error_details=error)


def files_in(folder: Path) -> list[tuple[str, Path]]:
    """Every file below a folder with its place there, in order; links to folders are left out."""
    found = (Path(inside, name) for inside, _, names in os.walk(folder) for name in names)
    return sorted((file.relative_to(folder).as_posix(), file) for file in found if file.is_file())


def error_text(error_details: Any) -> str | None:
    """What somebody gave as the reason of a failure, in one text."""
    if error_details is None:
        return None
    if isinstance(error_details, BaseException):
        return f"{type(error_details).__name__}: {error_details}"
    if isinstance(error_details, str):
        return error_details
    return json.dumps(error_details, default=str)


def _labels(labels: Mapping[str, Any]) -> dict[str, str | None]:
    return {
        label_name(name): None if value is None else stored_text(str(value))
        for name, value in labels.items()
    }


def _source(name: str, given: Any) -> Path | IO[bytes]:
    if isinstance(given, str | os.PathLike):
        path = Path(os.fspath(given)).expanduser()
        if not path.is_file():
            raise DefinitionRejected(name, f'"{given}" is not a file; name one to upload')
        return path
    if hasattr(given, "read"):
        stream: IO[bytes] = given
        return stream
    raise DefinitionRejected(
        name, f"a {type(given).__name__} cannot be uploaded; give a path or a stream of bytes"
    )


def _picture(plot: Any) -> IO[bytes]:
    import io

    if not hasattr(plot, "savefig"):
        raise DefinitionRejected(
            "plot", f"a {type(plot).__name__} has no savefig; give matplotlib's pyplot or a figure"
        )
    picture = io.BytesIO()
    plot.savefig(picture, format="png")
    picture.seek(0)
    return picture


def _chart(name: str, value: Any) -> Any:
    try:
        plain = json.loads(value) if isinstance(value, str) else plain_value(name, value)
    except ValueError as error:
        raise DefinitionRejected(name, "its text is not JSON; give Azure ML's form") from error
    if not isinstance(plain, dict):
        raise DefinitionRejected(name, "it is not an object; give schema_type and data")
    return plain
