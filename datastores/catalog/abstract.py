"""What every datastore object has: its workspace, its name, its definition."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace
    from datastores.credentials.kinds import Credential
    from datastores.definitions import Definition
    from datastores.registry.records import DatastoreRecord


class AbstractDatastore:
    """A registered datastore, seen from its workspace.

    It holds no secret and no connection: the credential is read from the vault when something is
    opened, so the object can be printed, pickled and kept.
    """

    # Names that Azure ML uses for fields of the definition, for reading only.
    attributes: ClassVar[Mapping[str, str]] = {}

    def __init__(self, workspace: Workspace, record: DatastoreRecord) -> None:
        self.workspace = workspace
        self._record = record

    @property
    def name(self) -> str:
        """What it is called in its workspace."""
        return str(self._record.definition.name)

    @property
    def datastore_type(self) -> str:
        """The kind, in Azure ML's words."""
        return self._record.definition.kind

    @property
    def definition(self) -> Definition:
        """Where it is, as the workspace remembers it."""
        return self._record.definition

    @property
    def credential_type(self) -> str:
        """The kind of credential in Azure ML's words; "None" where an identity is used."""
        kind = str(self._record.credential["kind"])
        return "None" if kind in ("Identity", "Anonymous") else kind

    @property
    def is_default(self) -> bool:
        """Whether the workspace uses it where no datastore is named."""
        return self.workspace.default_datastore_name == self.name

    def credential(self) -> Credential:
        """The credential from the vault; its secrets print as a mask."""
        return self.unlock()[1]

    def unlock(self) -> tuple[Definition, Credential]:
        """Where it is and what opens it, both of the registration that counts at this moment."""
        record, credential = self.workspace.registry.unlock(self.workspace.name, self.name)
        return record.definition, credential

    def set_as_default(self) -> None:
        """Make it the one that the workspace uses where no datastore is named."""
        self.workspace.set_default_datastore(self.name)

    def unregister(self) -> None:
        """Forget it: the record and its secret go, the data stays where it is."""
        self.workspace.registry.remove(self.workspace.name, self.name)

    def describe(self) -> dict[str, Any]:
        """Everything about it that may be shown."""
        shown = {key: getattr(self, key) for key in ("name", *self.attributes)}
        return {**shown, "datastore_type": self.datastore_type, "place": self.definition.display}

    def __getattr__(self, name: str) -> Any:
        field = type(self).attributes.get(name)
        if field is None:
            raise AttributeError(f'"{type(self).__name__}" has no attribute "{name}"')
        return getattr(self._record.definition, field)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.attributes})

    def __repr__(self) -> str:
        return json.dumps({key: getattr(self, key) for key in ("name", *self.attributes)}, indent=2)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AbstractDatastore):
            return NotImplemented
        return (self.workspace, self._record) == (other.workspace, other._record)

    def __hash__(self) -> int:
        return hash((self.workspace, self.name))

    def __reduce__(self) -> tuple[object, ...]:
        return _fetch, (self.workspace, self.name)


def _fetch(workspace: Workspace, name: str) -> AbstractDatastore:
    return workspace.datastores[name]
