"""`Workspace`: a registry of datastores, found by name or from the folder you are in."""

from __future__ import annotations

import builtins
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from datastores.catalog import config_file
from datastores.catalog.config_file import WorkspaceConfig
from datastores.catalog.home import (
    REGISTRY_FILE,
    default_registry,
    embedded_folder,
    workspace_folders,
)
from datastores.catalog.kinds import attach
from datastores.endpoints import without_password
from datastores.errors import AlreadyRegistered, ConfigRejected, NotRegistered, RegistryError
from datastores.names import DatastoreName, WorkspaceName
from datastores.secret import Secret

if TYPE_CHECKING:
    from datastores.catalog.abstract import AbstractDatastore
    from datastores.catalog.removal import Removal
    from datastores.history.experiment import Experiment
    from datastores.history.model import Model
    from datastores.registry.records import WorkspaceRecord
    from datastores.registry.registry import Registry
    from datastores.registry.rotation import Rotation

log = logging.getLogger(__name__)

# What an embedded workspace has instead of an Azure subscription and resource group.
LOCAL = "local"


class Workspace:
    """A named registry of datastores: one folder on this machine, or a PostgreSQL database.

    The object holds no secret and no open file until it is used, and pickles as its address.
    """

    def __init__(
        self,
        subscription_id: str,
        resource_group: str,
        workspace_name: str,
        auth: object = None,  # noqa: ARG002  # Azure ML's position; identities come from azure-identity
        *,
        registry: str | None = None,
    ) -> None:
        self._name = WorkspaceName.parse(workspace_name)
        self._subscription_id, self._resource_group = subscription_id, resource_group
        address = registry or default_registry(self._name)
        self._registry_place = without_password(address)
        # Only what was given in this process; files and pickles carry none, libpq finds its own.
        self._address = Secret(address) if address != self._registry_place else None
        del registry, address  # a crash report prints the variables of each frame
        self._lock = threading.Lock()
        self._registry: Registry | None = None  # opened once, under the lock

    @classmethod
    def create(
        cls,
        name: str,
        auth: object = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        create_resource_group: bool = True,  # noqa: ARG003  # there is none to create
        sku: str = "basic",
        tags: Mapping[str, str] | None = None,
        friendly_name: str | None = None,
        storage_account: str | None = None,
        *,
        exist_ok: bool = False,
        show_output: bool = True,
        folder: str | Path | None = None,
        registry: str | None = None,
        vault_key: str | None = None,
        storage_endpoint: str | None = None,
        storage_key: Any = None,
        primary_user_assigned_identity: str | None = None,
    ) -> Self:
        """A new workspace: embedded in one folder, or in the database `registry` names.

        It has `workspaceblobstore` (the default) and `workspacefilestore`: folders beside the
        registry, or a container and a share of `storage_account`. The folder you are in learns
        its name, so that `from_config()` finds it, unless it already belongs to another.
        """
        from datastores.catalog.creation import create_workspace

        parsed = WorkspaceName.parse(name)
        place = _place(folder, registry)
        workspace = cls(
            subscription_id or LOCAL, resource_group or LOCAL, parsed, auth, registry=place
        )
        present = workspace.namesakes()
        if parsed in present and exist_ok:
            return cls.get(parsed, registry=place)
        if parsed in present or (present and workspace.is_embedded):
            raise AlreadyRegistered(
                "workspace",
                present[0],
                f'registry "{workspace.registry_place}"',
                "pass exist_ok=True (--exist-ok) to use it, or choose another name and folder",
            )
        try:
            create_workspace(
                workspace,
                settings={
                    "location": location,
                    "sku": sku,
                    "friendly_name": friendly_name,
                    "vault_key": vault_key,
                    "primary_user_assigned_identity": primary_user_assigned_identity,
                },
                tags=dict(tags or {}),
                storage_account=storage_account,
                storage_endpoint=storage_endpoint,
                storage_key=storage_key,
            )
        except AlreadyRegistered:
            # Somebody made it between the look and the act.
            if not exist_ok:
                raise
            return cls.get(parsed, registry=place)
        _tell_folder(workspace, show_output=show_output)
        return workspace

    @classmethod
    def get(
        cls,
        name: str,
        auth: object = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        *,
        registry: str | None = None,
    ) -> Self:
        """The workspace of this name; `NotRegistered` lists the known ones."""
        parsed = WorkspaceName.parse(name)
        workspace = cls(LOCAL, LOCAL, parsed, auth, registry=registry)
        record = workspace.record()
        for field, wanted in (
            ("subscription_id", subscription_id),
            ("resource_group", resource_group),
        ):
            found = getattr(record, field)
            # Scopes in addresses and files are compared as Azure does, without regard to case.
            if wanted and wanted.lower() != found.lower():
                raise NotRegistered(
                    "workspace", f"{wanted}/{name}", workspace.registry_place, [f"{found}/{name}"]
                )
        workspace._subscription_id = record.subscription_id
        workspace._resource_group = record.resource_group
        return workspace

    @classmethod
    def list(
        cls,
        subscription_id: str | None = None,
        auth: object = None,  # noqa: ARG003  # Azure ML's position
        resource_group: str | None = None,
        *,
        registry: str | None = None,
    ) -> dict[str, builtins.list[Self]]:
        """Workspaces by name: this user's embedded ones, or those of a registry."""
        found: dict[str, builtins.list[Self]] = {}
        for place, record in _known(registry):
            if subscription_id in (None, record.subscription_id) and resource_group in (
                None,
                record.resource_group,
            ):
                found.setdefault(str(record.name), []).append(cls._of_record(record, place))
        return found

    @classmethod
    def from_config(
        cls,
        path: str | Path | None = None,
        auth: object = None,  # noqa: ARG003  # Azure ML's position
        _logger: object = None,
        _file_name: str | None = None,
    ) -> Self:
        """The workspace that `.azureml/config.json` names, here or in a folder above."""
        found = config_file.find(path, _file_name)
        config = config_file.load(found)
        try:
            return cls.get(
                config.workspace_name,
                subscription_id=config.subscription_id,
                resource_group=config.resource_group,
                registry=config.registry,
            )
        except NotRegistered as error:
            raise ConfigRejected(str(found), f"{error}; create it, or correct the file") from error

    @classmethod
    def _of_record(cls, record: WorkspaceRecord, place: str) -> Self:
        return cls(record.subscription_id, record.resource_group, record.name, registry=place)

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self._name)

    @property
    def subscription_id(self) -> str:
        """Azure's subscription; "local" for an embedded workspace."""
        return self._subscription_id

    @property
    def resource_group(self) -> str:
        """Azure's resource group; "local" for an embedded workspace."""
        return self._resource_group

    @property
    def location(self) -> str | None:
        """Azure's region, if one was given."""
        location: str | None = self.record().settings.get("location")
        return location

    @property
    def tags(self) -> dict[str, str]:
        """What was attached to it at its creation."""
        return dict(self.record().tags)

    @property
    def registry_place(self) -> str:
        """The file or the database that holds its records; without a password."""
        return self._registry_place

    @property
    def registry_address(self) -> Secret:
        """The same with the password that was given in this process, if one was.

        For whoever opens the registry in this one's name, through a pipe and never in arguments.
        """
        return self._address or Secret(self._registry_place)

    @property
    def is_embedded(self) -> bool:
        """Whether its records are a file of this machine and not a database for many."""
        return "://" not in self._registry_place

    @property
    def registry(self) -> Registry:
        """Its records; opened at first use."""
        return self._opened(create=False)

    def make_registry(self) -> Registry:
        """Its records; the file or the tables are made if they are missing."""
        return self._opened(create=True)

    def _opened(self, *, create: bool) -> Registry:
        with self._lock:
            if self._registry is None:
                from datastores.registry.registry import Registry

                self._registry = Registry.open(self.registry_address.reveal(), create=create)
            return self._registry

    def namesakes(self) -> builtins.list[str]:
        """All workspaces of its registry, which is made if it is a database and empty."""
        if self.is_embedded and not Path(self._registry_place).exists():
            return []
        return [str(record.name) for record in self.make_registry().workspaces()]

    def record(self) -> WorkspaceRecord:
        """What the registry keeps about it."""
        if self.is_embedded and not Path(self._registry_place).exists():
            known = [folder.name for folder in workspace_folders()]
            raise NotRegistered("workspace", self._name, "this user's folder", known)
        return self.registry.workspace(self._name)

    @property
    def datastores(self) -> Mapping[str, AbstractDatastore]:
        """Its datastores by name, as they are at this moment."""
        return {
            str(record.definition.name): attach(self, record)
            for record in self.registry.list(self._name)
        }

    @property
    def experiments(self) -> Mapping[str, Experiment]:
        """Its experiments by name, as they are at this moment."""
        from datastores.history.experiment import Experiment

        return {one.name: one for one in Experiment.list(self)}

    @property
    def models(self) -> Mapping[str, Model]:
        """The newest version of each of its models by name, as they are at this moment."""
        from datastores.history.model import Model

        return {one.name: one for one in Model.list(self, latest=True)}

    def datastore_names(self) -> builtins.list[str]:
        """Names of its datastores, in order."""
        return sorted(str(record.name) for record in self.registry.list(self._name))

    def get_datastore(self, name: str) -> AbstractDatastore:
        """The datastore of this name; `NotRegistered` lists the known ones."""
        return attach(self, self.registry.get(self._name, DatastoreName.parse(name)))

    @property
    def default_datastore_name(self) -> str | None:
        """The name of the datastore that is used where none is named."""
        return self.record().default_datastore

    def get_default_datastore(self) -> AbstractDatastore:
        """The datastore that is used where none is named."""
        name = self.default_datastore_name
        if name is None:
            known = self.datastore_names()
            raise NotRegistered("default datastore", "", f'workspace "{self.name}"', known)
        return self.get_datastore(name)

    def set_default_datastore(self, name: str) -> None:
        """Use this datastore where none is named."""
        self.registry.set_default(self._name, DatastoreName.parse(name))

    def get_details(self) -> dict[str, Any]:
        """What is known about it, under Azure ML's names; nothing secret."""
        record = self.record()
        scope = (
            f"/subscriptions/{self._subscription_id}/resourceGroups/{self._resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.name}"
        )
        return {
            "id": scope,
            "name": self.name,
            "type": "Microsoft.MachineLearningServices/workspaces",
            "workspaceid": record.id,
            "location": record.settings.get("location"),
            "sku": record.settings.get("sku"),
            "friendlyName": record.settings.get("friendly_name") or self.name,
            "tags": dict(record.tags),
            "creationTime": record.created.isoformat(),
            "storageAccount": record.settings.get("storage_account"),
            "registry": self._registry_place,
            "vaultKey": record.settings.get("vault_key"),
            "defaultDatastore": record.default_datastore,
            "datastores": self.datastore_names(),
        }

    def write_config(self, path: str | Path | None = None, file_name: str | None = None) -> None:
        """Write `.azureml/config.json` below a folder, so that `from_config()` finds this one."""
        folder = Path(path or ".").expanduser().absolute()
        is_default = self._registry_place == default_registry(self._name)
        config = WorkspaceConfig(
            self.name,
            self._subscription_id,
            self._resource_group,
            None if is_default else self._registry_place,
        )
        config_file.save(config, folder, file_name)

    def rotate_vault_key(self) -> Rotation:
        """Encrypt all its secrets under a new key; safe to interrupt and to start again."""
        from datastores.registry.rotation import rotate

        return rotate(self.registry, self._name)

    def delete(self, delete_dependent_resources: bool = False, no_wait: bool = False) -> None:  # noqa: ARG002  # nothing to wait for
        """Forget it with all its datastores, secrets and runs.

        The folders of its runs and its cache go, too. The data stays, unless
        `delete_dependent_resources` asks for the folders of an embedded workspace, and results that
        are in no store, to go as well; containers and shares in Azure are never deleted.
        """
        removal = self.plan_deletion(delete_dependent_resources)
        self.registry.remove_workspace(self._name)
        self.close()
        removal.carry_out()
        if removal.stays:
            log.warning('the data of workspace "%s" stays in "%s"', self.name, removal.folder)

    def plan_deletion(self, delete_dependent_resources: bool = False) -> Removal:
        """What `delete` would remove from this machine, and what would stay.

        `DefinitionRejected` while a run of it is at work here.
        """
        from datastores.catalog.removal import plan_removal

        others = [one for one in self.registry.workspaces() if one.name != self._name]
        folder = embedded_folder(self._name, self._registry_place)
        return plan_removal(
            folder,
            is_embedded=self.is_embedded,
            has_others=bool(others),
            data=delete_dependent_resources,
        )

    def close(self) -> None:
        """Let go of the registry; the object opens it again when it is used again."""
        with self._lock:
            if self._registry is not None:
                self._registry.close()
                self._registry = None

    def __repr__(self) -> str:
        return (
            f"Workspace(subscription_id={self._subscription_id!r}, "
            f"resource_group={self._resource_group!r}, name={self.name!r})"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Workspace):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, str]:
        return self._registry_place, self._name

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (
            type(self),
            self._subscription_id,
            self._resource_group,
            self.name,
            self._registry_place,
        )


def _reopen(
    cls: type[Workspace], subscription_id: str, resource_group: str, name: str, place: str
) -> Workspace:
    return cls(subscription_id, resource_group, name, registry=place)


def _place(folder: str | Path | None, registry: str | None) -> str | None:
    if folder is not None:
        return str(Path(folder).expanduser().absolute() / REGISTRY_FILE)
    return registry


def _known(registry: str | None) -> Iterator[tuple[str, WorkspaceRecord]]:
    from datastores.registry.registry import Registry

    places = [registry] if registry else [str(f / REGISTRY_FILE) for f in workspace_folders()]
    for place in places:
        try:
            with Registry.open(place) as opened:
                records = opened.workspaces()
        except RegistryError as error:
            if registry:
                raise
            # One that is damaged does not hide the others.
            log.warning("%s", error)
            continue
        for record in records:
            yield place, record


def _tell_folder(workspace: Workspace, *, show_output: bool) -> None:
    here = Path.cwd()
    present = here / ".azureml" / "config.json"
    if not present.exists():
        workspace.write_config(here)
        note = f'"{present}" names it'
    else:
        note = f'"{present}" names another one and was left alone'
    if show_output:
        print(  # noqa: T201  # Azure ML's show_output
            f'workspace "{workspace.name}" is in "{workspace.registry_place}"; {note}'
        )
