"""From what a person submits to a job spec without leases; all that is wrong is said here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from datastores.catalog.abstract import AbstractDatastore
from datastores.catalog.workspace import Workspace
from datastores.contract import FolderSource, JobSpec, Script, SnapshotSource, When
from datastores.contract.ignoring import refuse_left_out
from datastores.contract.job import Source
from datastores.errors import DefinitionRejected, NotRegistered, Unsupported
from datastores.runs import Estimator, RunConfiguration, ScriptRunConfig, plan_job
from datastores.runs.configuration_file import project_folder
from datastores.storage.open import DBFS_ROOT
from datastores.submission.abilities import refuse_impossible
from datastores.submission.place import RunPlace, registry_address
from datastores.value import Value

Submittable: TypeAlias = Estimator | ScriptRunConfig | RunConfiguration

# Names that mean this machine.
_HERE = ("local",)


class Prepared(Value):
    """A job that can be started; nothing of it is secret."""

    spec: JobSpec
    configuration: RunConfiguration
    # The folder to copy to the spec's snapshot before the start; None where the node can see it.
    to_snapshot: Path | None = None


class Identity(Value):
    """What a run is called, and where it lies."""

    run_id: str
    experiment: str
    place: RunPlace
    parent: str | None = None


def prepare(
    workspace: Workspace,
    config: Submittable,
    identity: Identity,
    *,
    source_directory: str | os.PathLike[str] | None = None,
    keep: Mapping[str, When] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Prepared:
    """The job that a configuration asks for; nothing is fetched, sent or started.

    `overrides` are the settings that an estimator takes when it is submitted.
    """
    configuration, given = _configured(config, overrides or {})
    folder = _source_folder(source_directory if source_directory is not None else given)
    _refuse_elsewhere(configuration)
    _refuse_vault(workspace, folder)
    datastores = workspace.datastores
    source = _source(configuration, folder, datastores, identity)
    spec = plan_job(
        configuration,
        datastores,
        run_id=identity.run_id,
        experiment=identity.experiment,
        leases=lambda _: None,
        source=source,
        has_file=None if folder is None else lambda name: (folder / name).is_file(),
        keep=keep,
    )
    if folder is not None and isinstance(spec.work, Script):
        refuse_left_out(folder, spec.work.path)
    refuse_impossible(spec, has_dbfs=DBFS_ROOT.is_dir())
    spec = replace(spec, environment={**spec.environment, **variables(workspace, identity)})
    to_snapshot = folder if isinstance(source, SnapshotSource) else None
    return Prepared(spec, configuration, to_snapshot)


def variables(workspace: Workspace, identity: Identity) -> dict[str, str]:
    """What a script is told of its run, so that `Run.get_context()` finds it."""
    return {
        "AZUREML_RUN_ID": identity.run_id,
        "AZUREML_ROOT_RUN_ID": identity.parent or identity.run_id,
        "AZUREML_EXPERIMENT_NAME": identity.experiment,
        "AZUREML_ARM_PROJECT_NAME": identity.experiment,
        "AZUREML_ARM_WORKSPACE_NAME": workspace.name,
        "AZUREML_ARM_SUBSCRIPTION": workspace.subscription_id,
        "AZUREML_ARM_RESOURCEGROUP": workspace.resource_group,
        "DATASTORES_WORKSPACE": workspace.name,
        "DATASTORES_REGISTRY": registry_address(workspace),
        "DATASTORES_RUN_EVENTS": str(identity.place.events),
    }


def _configured(
    config: Submittable, overrides: Mapping[str, Any]
) -> tuple[RunConfiguration, str | os.PathLike[str] | None]:
    match config:
        case Estimator():
            return config.configured(**overrides), config.source_directory
        case _ if overrides:
            raise DefinitionRejected(
                "submit",
                f'"{next(iter(overrides))}" can be given with an estimator only; '
                f"change the configuration instead",
            )
        case ScriptRunConfig():
            return config.configured(), config.source_directory
        case RunConfiguration():
            return config.with_references(), _project(config)
    raise DefinitionRejected(
        "submit",
        f"a {type(config).__name__} cannot be submitted; give an Estimator, a ScriptRunConfig, "
        f"a RunConfiguration or a Pipeline",
    )


def _project(configuration: RunConfiguration) -> Path | None:
    if configuration.file is not None:
        return project_folder(configuration.file)
    return Path() if configuration.script else None


def _source_folder(given: str | os.PathLike[str] | None) -> Path | None:
    if given is None:
        return None
    folder = Path(given).expanduser().absolute()
    if not folder.is_dir():
        raise DefinitionRejected(
            "run", f'the source folder "{given}" does not exist; correct source_directory'
        )
    return folder


def _refuse_elsewhere(configuration: RunConfiguration) -> None:
    if configuration.target not in _HERE:
        raise DefinitionRejected(
            "run",
            f'compute target "{configuration.target}" is not known here; this machine is "local"',
        )


def _refuse_vault(workspace: Workspace, folder: Path | None) -> None:
    """A source folder goes to nodes and stores as it is, and the vault's key must not."""
    if folder is None or not workspace.is_embedded:
        return
    registry = Path(registry_address(workspace)).resolve()
    if registry.is_relative_to(folder.resolve()):
        raise DefinitionRejected(
            "run",
            f'the source folder "{folder}" holds the workspace itself, with its data and its '
            f"vault; put the script into a folder of its own, or name one with source_directory",
        )


def _source(
    configuration: RunConfiguration,
    folder: Path | None,
    datastores: Mapping[str, AbstractDatastore],
    identity: Identity,
) -> Source | None:
    if folder is None:
        return None
    name = configuration.source_directory_data_store
    if not name:
        return FolderSource(str(folder))
    found = datastores.get(name.lower())
    if found is None:
        raise NotRegistered("datastore", name, "the workspace", sorted(datastores))
    if found.definition.holds != "files":
        raise Unsupported(
            found.name, None, "it holds rows; name a datastore of files for the source folder"
        )
    return SnapshotSource(found.definition, f"azureml/snapshots/{identity.run_id}")
