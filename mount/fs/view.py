"""How a mount shows its store, and what it may use."""

from __future__ import annotations

from datastores.value import Value

MIB = 1024 * 1024


class MountView(Value):
    """One mount's settings; `place` is the folder of the store that becomes the root.

    For `name_seconds`, `attribute_seconds` and `absent_seconds` an answer of the store is taken
    as still true: that is how late the mount may see what another client did.
    """

    read_only: bool = False
    place: str = ""
    owner: int = 0
    group: int = 0
    file_permissions: int = 0o644
    folder_permissions: int = 0o755
    umask: int = 0
    name_seconds: float = 60.0
    attribute_seconds: float = 60.0
    absent_seconds: float = 5.0
    # Up to this size a file is fetched whole when it is opened.
    small_file_bytes: int = 4 * MIB
    # Whether such a file must have the MD5 that its writer declared, where the store told it.
    check_md5: bool = True
    # All that is held of files in memory when the cache has no room.
    memory_bytes: int = 256 * MIB
    # One reader's read-ahead at its widest, and the largest piece fetched by one request.
    window_bytes: int = 64 * MIB
    part_bytes: int = 8 * MIB
    connections: int = 16
    # Files longer than one block are sent block by block where the store can.
    block_bytes: int = 8 * MIB
    blocks_in_flight: int = 4
    # What one streamed file may keep on the local disk while it is written.
    spool_bytes: int = 256 * MIB
    # Facts about names that the kernel does not hold.
    facts: int = 131_072
    # A larger file that is deleted here while somebody reads it is not fetched for him first.
    keep_bytes: int = 1024 * MIB
    # How long a change waits for another change of the same file or folder.
    turn_seconds: float = 600.0
    stop_seconds: float = 60.0
