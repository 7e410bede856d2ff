"""A data reference as run configurations store it."""

from __future__ import annotations


class DataReferenceConfiguration:
    """The entry of `dataReferences` in a run configuration; field names are Azure ML's."""

    # Setting any other attribute is an error, as in the original: a typing slip must not be lost.
    __slots__ = (
        "data_store_name",
        "mode",
        "overwrite",
        "path_on_compute",
        "path_on_data_store",
    )

    def __init__(
        self,
        datastore_name: str | None = None,
        mode: str = "mount",
        path_on_datastore: str | None = None,
        path_on_compute: str | None = None,
        overwrite: bool = False,
    ) -> None:
        self.data_store_name = datastore_name
        self.mode = mode.lower()
        self.path_on_data_store = path_on_datastore
        self.path_on_compute = path_on_compute
        self.overwrite = overwrite

    def __repr__(self) -> str:
        return (
            f"DataReferenceConfiguration({self.data_store_name!r}, {self.mode!r}, "
            f"{self.path_on_data_store!r}, {self.path_on_compute!r}, {self.overwrite!r})"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DataReferenceConfiguration):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # mutable, as in Azure ML
