"""Registered models: what the registry remembers of them, and its SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, select, update

from datastores.errors import NameRejected, NotRegistered, RunRefused
from datastores.history.showing import shown_labels, stored_text
from datastores.registry.schema import models
from datastores.secret import redact
from datastores.value import Value, field

if TYPE_CHECKING:
    from datastores.registry.registry import Registry

# Azure ML's rule.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}\Z")


class ModelRecord(Value):
    """One version of a model: where its files are, and what people say of it."""

    name: str
    # The run that made it, and the files' place among those of the run.
    run_id: str
    path: str
    datastore: str
    place: str
    # Counts the models of the name from 1; given by the registry.
    version: int = 0
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    description: str | None = None
    framework: str | None = None
    framework_version: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)


class ModelRegistry(Value):
    """The models of one workspace, for any number of threads and processes."""

    registry: Registry
    workspace: str

    def add(self, record: ModelRecord) -> ModelRecord:
        """Remember the next version of a model; the record with its number."""
        shown = _shown(replace(record, name=model_name(record.name)))

        def work(connection: Connection) -> ModelRecord:
            home = self._home(connection)
            newest = select(func.max(models.c.version)).where(_named(home, shown.name))
            numbered = replace(shown, version=(connection.scalar(newest) or 0) + 1)
            connection.execute(insert(models).values(workspace_id=home, **_values(numbered)))
            return numbered

        return self.registry.database.write(work)

    def get(self, name: str, version: int | None = None) -> ModelRecord:
        """A version of a model, by default the newest; `NotRegistered` lists what there is."""
        return self.registry.database.read(
            lambda connection: self._get(connection, self._home(connection), name, version)
        )

    def list(self) -> list[ModelRecord]:
        """All versions of all models, by name, the newest first."""
        return self.registry.database.read(
            lambda connection: _list(connection, self._home(connection))
        )

    def label(
        self,
        name: str,
        version: int,
        *,
        tags: Mapping[str, str] | None = None,
        remove: tuple[str, ...] = (),
        properties: Mapping[str, str] | None = None,
    ) -> ModelRecord:
        """Put tags, take some away, add properties, which never change."""

        def work(connection: Connection) -> ModelRecord:
            home = self._home(connection)
            found = self._get(connection, home, name, version)
            kept = {one: value for one, value in found.tags.items() if one not in remove}
            added = shown_labels(properties or {})
            for one, value in added.items():
                if found.properties.get(one, value) != value:
                    raise RunRefused(
                        found.run_id,
                        f'made the model "{name}", whose property "{one}" cannot change; '
                        f"use a tag, or another name",
                    )
            changed = replace(
                found,
                tags={**kept, **shown_labels(tags or {})},
                properties={**found.properties, **added},
            )
            connection.execute(
                update(models)
                .where(_named(home, name), models.c.version == version)
                .values(tags=dict(changed.tags), properties=dict(changed.properties))
            )
            return changed

        return self.registry.database.write(work)

    def _home(self, connection: Connection) -> str:
        return self.registry.find_workspace(connection, self.workspace).id

    def _get(
        self, connection: Connection, home: str, name: str, version: int | None
    ) -> ModelRecord:
        found = _list(connection, home)
        for one in found:
            if one.name == name and version in (None, one.version):
                return one
        wanted = name if version is None else f"{name}:{version}"
        known = [f"{one.name}:{one.version}" for one in found]
        raise NotRegistered("model", wanted, f'workspace "{self.workspace}"', known)


def model_name(text: object) -> str:
    """What a model may be called."""
    if not isinstance(text, str) or not _NAME.match(text):
        raise NameRejected(
            "model",
            text if isinstance(text, str) else repr(text),
            "use 1 to 255 of the characters a-z, A-Z, 0-9, _, . and -, a letter or digit first",
        )
    return text


def _list(connection: Connection, home: str) -> list[ModelRecord]:
    query = select(models).where(models.c.workspace_id == home)
    ordered = query.order_by(models.c.name, models.c.version.desc())
    return [_record(row) for row in connection.execute(ordered)]


def _named(home: str, name: str) -> ColumnElement[bool]:
    return and_(models.c.workspace_id == home, models.c.name == name)


def _shown(record: ModelRecord) -> ModelRecord:
    """The record as it may lie in a database that others can read."""
    text = record.description
    return replace(
        record,
        description=None if text is None else stored_text(redact(text)),
        tags=shown_labels(record.tags),
        properties=shown_labels(record.properties),
    )


def _values(record: ModelRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "version": record.version,
        "created": record.created,
        "run_id": record.run_id,
        "path": record.path,
        "datastore": record.datastore,
        "place": record.place,
        "description": record.description,
        "framework": record.framework,
        "framework_version": record.framework_version,
        "tags": dict(record.tags),
        "properties": dict(record.properties),
    }


def _record(row: Row[Any]) -> ModelRecord:
    values = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's public name
    del values["workspace_id"]
    return ModelRecord(**values)
