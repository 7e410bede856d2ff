"""The outcome of a transfer."""

from __future__ import annotations

from datastores.value import Value


class Summary(Value):
    """What one call did, counted in files and bytes."""

    found: int = 0
    moved: int = 0
    skipped: int = 0
    deleted: int = 0
    failed: int = 0
    # Bytes that crossed the network, and bytes a resumed file already had.
    bytes: int = 0
    resumed_bytes: int = 0
    seconds: float = 0.0
    retries: int = 0
    failures: tuple[tuple[str, BaseException], ...] = ()
