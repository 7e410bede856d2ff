"""What the registry remembers, as values; nothing in them is secret."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from datastores.definitions import Definition
from datastores.names import DatastoreName, WorkspaceName
from datastores.value import Value, field


class WorkspaceRecord(Value):
    """A workspace; `id` stays its own even if another of the same name follows it."""

    name: WorkspaceName
    subscription_id: str
    resource_group: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    tags: Mapping[str, str] = field(default_factory=dict)
    default_datastore: DatastoreName | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class DatastoreRecord(Value):
    """A datastore as it was registered; `credential` is the part of it that may be shown."""

    workspace: WorkspaceName
    definition: Definition
    credential: Mapping[str, Any]
    created: datetime
    changed: datetime
    # 1 at the first registration, one more at each overwriting.
    revision: int

    @property
    def name(self) -> DatastoreName:
        return self.definition.name
