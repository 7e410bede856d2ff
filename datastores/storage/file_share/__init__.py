"""Azure file shares over their REST interface."""

from __future__ import annotations

from datastores.storage.file_share.store import open_file_share

__all__ = ["open_file_share"]
