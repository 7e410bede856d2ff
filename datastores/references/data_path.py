"""A place in a datastore without a mode, and the mode that is bound to it later."""

from __future__ import annotations

import uuid

from datastores.keys import parse_place
from datastores.references.data_reference import DataReference
from datastores.references.naming import NamedPlace, parse_mode


class DataPathComputeBinding:
    """How a `DataPath` will be seen on the compute."""

    def __init__(
        self, mode: str = "mount", path_on_compute: str | None = None, overwrite: bool = False
    ) -> None:
        self.mode = parse_mode("data path", mode)
        self.path_on_compute = path_on_compute
        self.overwrite = overwrite


class DataPath:
    """A place in a datastore; becomes a reference once it is known how a job sees it."""

    def __init__(
        self,
        datastore: NamedPlace | None = None,
        path_on_datastore: str | None = None,
        name: str | None = None,
    ) -> None:
        if datastore is None:
            raise ValueError("a data path needs a datastore")
        parse_place(path_on_datastore)
        self.datastore = datastore
        self.path_on_datastore = path_on_datastore
        self.name = name or f"{datastore.name}_{uuid.uuid4().hex[:8]}"

    def create_data_reference(
        self,
        data_reference_name: str | None = None,
        datapath_compute_binding: DataPathComputeBinding | None = None,
    ) -> DataReference:
        """A reference to this place; mounted, unless the binding says otherwise."""
        binding = datapath_compute_binding or DataPathComputeBinding()
        return DataReference(
            self.datastore,
            data_reference_name or self.name,
            self.path_on_datastore,
            binding.mode,
            binding.path_on_compute,
            binding.overwrite,
        )
