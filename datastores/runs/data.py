"""Inputs and outputs of a run that name a place directly: `data` and `outputData`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from datastores.runs.sections import Section, key


@dataclass(slots=True)
class Dataset(Section):
    """A registered dataset."""

    dataset_id: str | None = field(default=None, metadata=key("id"))
    dataset_name: str | None = field(default=None, metadata=key("name"))
    dataset_version: str | None = field(default=None, metadata=key("version"))


@dataclass(slots=True)
class DataPath(Section):
    """A place in a datastore."""

    datastore_name: str | None = None
    relative_path: str | None = None


@dataclass(slots=True)
class Uri(Section):
    """An address."""

    path: str | None = None
    is_file: bool = False


@dataclass(slots=True)
class DataLocation(Section):
    """Where data is: one of the three."""

    dataset: Dataset | None = None
    data_path: DataPath | None = None
    uri: Uri | None = None


@dataclass(slots=True)
class Data(Section):
    """One input; modes are "direct", "mount" and "download"."""

    data_location: DataLocation | None = None
    create_output_directories: bool | None = None
    mechanism: str = "direct"
    environment_variable_name: str | None = None
    path_on_compute: str | None = None
    overwrite: bool = False
    options: dict[str, Any] | None = None

    def settle(self) -> None:
        self.mechanism = self.mechanism.lower()


@dataclass(slots=True)
class DatasetRegistrationOptions(Section):
    """How an output becomes a dataset."""

    additional_transformations: Any = field(default=None, metadata=key("additionalTransformation"))


@dataclass(slots=True)
class RegistrationOptions(Section):
    """The dataset an output becomes."""

    name: str | None = None
    description: str | None = None
    tags: dict[str, str] | None = None
    dataset_registration_options: DatasetRegistrationOptions | None = None


@dataclass(slots=True)
class GlobsOptions(Section):
    """Which files of a folder are meant."""

    patterns: list[str] | None = None


@dataclass(slots=True)
class UploadOptions(Section):
    """How an output is uploaded."""

    overwrite: bool = False
    source_globs: GlobsOptions | None = None


@dataclass(slots=True)
class MountOptions(Section):
    """How an output is mounted."""

    disable_metadata_cache: bool = False


@dataclass(slots=True)
class OutputOptions(Section):
    """Everything about an output beside its place."""

    path_on_compute: str | None = None
    registration_options: RegistrationOptions | None = None
    upload_options: UploadOptions | None = None
    mount_options: MountOptions | None = None


@dataclass(slots=True)
class OutputData(Section):
    """One output; modes are "mount" and "upload"."""

    output_location: DataLocation | None = None
    mechanism: str = "mount"
    additional_options: OutputOptions | None = None

    def settle(self) -> None:
        self.mechanism = self.mechanism.lower()


@dataclass(slots=True)
class SqlReferenceConfiguration(Section):
    """Rows among `dataReferences`; Azure ML had no stored form for them."""

    data_store_name: str | None = None
    mode: str = "download"
    sql_table: str | None = None
    sql_query: str | None = None
    sql_stored_procedure: str | None = None
    sql_stored_procedure_params: Any = None
    path_on_compute: str | None = None
    overwrite: bool = False
