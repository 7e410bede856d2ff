"""Azure blob containers and ADLS Gen2 file systems, both through the blob endpoint."""

from __future__ import annotations

from datastores.storage.blob.store import open_blob

__all__ = ["open_blob"]
