"""A place in a datastore, how a job sees it, and where it appears on the compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datastores.keys import join, parse_place
from datastores.references.configuration import DataReferenceConfiguration
from datastores.references.naming import VARIABLE_PREFIX, NamedPlace, parse_mode, reference_name

if TYPE_CHECKING:
    from datastores.references.data_path import DataPath, DataPathComputeBinding

_ROOTS = (None, "", "/", ".", "./")


class DataReference:
    """A value; nothing moves until a job that carries it runs.

    Its text is `$AZUREML_DATAREFERENCE_<name>`, which the agent replaces by a path.
    """

    def __init__(
        self,
        datastore: NamedPlace,
        data_reference_name: str | None = None,
        path_on_datastore: str | None = None,
        mode: str = "mount",
        path_on_compute: str | None = None,
        overwrite: bool = False,
    ) -> None:
        parse_place(path_on_datastore)  # a place that climbs is refused here, not on the node
        self.datastore = datastore
        self.data_reference_name = reference_name(
            data_reference_name, datastore, is_root=path_on_datastore in _ROOTS
        )
        self.path_on_datastore = path_on_datastore
        self.mode = parse_mode(self.data_reference_name, mode)
        self.path_on_compute = path_on_compute
        self.overwrite = overwrite

    @staticmethod
    def create(
        data_reference_name: str | None = None,
        datapath: DataPath | None = None,
        datapath_compute_binding: DataPathComputeBinding | None = None,
    ) -> DataReference:
        """A reference to a path, bound to the compute as the binding says."""
        if datapath is None or datapath_compute_binding is None:
            raise ValueError("datapath and datapath_compute_binding are both required")
        return datapath.create_data_reference(data_reference_name, datapath_compute_binding)

    @property
    def place(self) -> str:
        """The key of the file or folder, in its one spelling; '' is the root."""
        return parse_place(self.path_on_datastore)

    @property
    def display(self) -> str:
        """The reference in a few words, for messages."""
        return f'"{join(str(self.datastore.name), self.place)}" ({self.mode})'

    def path(
        self, path: str | None = None, data_reference_name: str | None = None
    ) -> DataReference:
        """A reference to something below this one, seen as a mount; the root is this one itself."""
        if path in _ROOTS:
            return (
                DataReference(self.datastore, data_reference_name) if data_reference_name else self
            )
        below = path if self.path_on_datastore in _ROOTS else f"{self.path_on_datastore}/{path}"
        return DataReference(self.datastore, data_reference_name, below)

    def as_mount(self) -> DataReference:
        """The same place, mounted; whatever was said about the compute stays."""
        return self._as("mount", self.path_on_compute, self.overwrite)

    def as_download(
        self, path_on_compute: str | None = None, overwrite: bool = False
    ) -> DataReference:
        """The same place, downloaded before the script starts."""
        return self._as("download", path_on_compute, overwrite)

    def as_upload(
        self, path_on_compute: str | None = None, overwrite: bool = False
    ) -> DataReference:
        """The same place, filled from the compute after the script ends."""
        return self._as("upload", path_on_compute, overwrite)

    def to_config(self) -> DataReferenceConfiguration:
        """The reference as run configurations store it; roots of both sides become None."""
        return DataReferenceConfiguration(
            str(self.datastore.name),
            self.mode,
            None if self.path_on_datastore in _ROOTS else self.path_on_datastore,
            None if self.path_on_compute in _ROOTS else self.path_on_compute,
            self.overwrite,
        )

    def _as(self, mode: str, path_on_compute: str | None, overwrite: bool) -> DataReference:
        return DataReference(
            self.datastore,
            self.data_reference_name,
            self.path_on_datastore,
            mode,
            path_on_compute,
            overwrite,
        )

    def __str__(self) -> str:
        return f"${VARIABLE_PREFIX}{self.data_reference_name}"

    __repr__ = __str__
