"""What a caller may ask of a transfer."""

from __future__ import annotations

import enum
from pathlib import Path

from datastores.errors import DefinitionRejected
from datastores.value import Value, field

MIB = 1 << 20


class Overwrite(enum.Enum):
    """What happens to a file whose name is already taken."""

    # By name alone, as Azure ML's `overwrite=False` does.
    SKIP_EXISTING = "skip existing"
    # Left alone when a record proves that both ends are as the last transfer left them.
    CHANGED = "changed"
    ALWAYS = "always"


class Symlinks(enum.Enum):
    """What an upload does with symbolic links in the source folder."""

    # Links to files are uploaded as files, links to folders are left out: what os.walk does.
    FOLLOW_FILES = "follow files"
    FOLLOW_ALL = "follow all"
    SKIP = "skip"
    REFUSE = "refuse"


class Integrity(enum.Enum):
    """How sure a copy must be before a file gets its final name."""

    # Length and version only.
    SIZE = "size"
    # A checksum of each range, kept for resuming, `verify` and `repair`; see `checksum.py`.
    RANGES = "ranges"
    # Also the whole object's MD5 where the store declares one: 0.54 GB/s of one core.
    MD5 = "md5"


class Limits(Value):
    """Upper bounds; the pace below them is found by measuring."""

    # Requests in flight for one call.
    streams: int = 128
    # Requests in flight to one host, over all calls of the process.
    per_host: int = 192
    # Bytes held by requests in flight; the rest of 256 MiB is Python and the client libraries.
    memory_bytes: int = 96 * MIB
    # How long a stopped transfer waits for its threads.
    stop_seconds: float = 10.0
    # Silence after which a file that another process is fetching is given up.
    lock_seconds: float = 60.0


class Options(Value):
    """One transfer's settings; the defaults are a safe, repeatable copy."""

    overwrite: Overwrite = Overwrite.CHANGED
    # Patterns over names relative to the place: `*` stays inside a folder, `**` does not.
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    # Only these names, without listing; how failed files are tried again.
    only: tuple[str, ...] | None = None
    dry_run: bool = False
    preserve_mtime: bool = False
    symlinks: Symlinks = Symlinks.FOLLOW_FILES
    sparse: bool = False
    integrity: Integrity = Integrity.RANGES
    # Uploads in blocks declare the whole object's MD5, so that anybody can check it later. It holds
    # each file to 540 MB/s, and azcopy leaves it out as well unless told otherwise.
    declare_md5: bool = False
    # Remove what the source does not have; only after a complete listing without failures, and
    # only where the source is a folder with something in it.
    delete: bool = False
    keep_going: bool = True
    # fsync each file and its folder before the transfer counts it.
    durable: bool = False
    # Refuse names that Windows cannot hold, and names that differ only in case, on any system.
    portable_names: bool = False
    # Where records and the list of failures live; None: hidden in the local folder itself.
    records: Path | None = None
    # Objects up to this size come in one request.
    small_bytes: int = 16 * MIB
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.delete and self.only is not None:
            why = "with `only` most of the source is not looked at; leave out one of the two"
            raise DefinitionRejected("delete", why)
