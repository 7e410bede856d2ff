"""Azure Data Lake Storage Gen1 and servers that speak its WebHDFS dialect."""

from __future__ import annotations

from datastores.storage.webhdfs.store import open_gen1

__all__ = ["open_gen1"]
