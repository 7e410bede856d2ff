"""What the store said about names, and for how long that is taken as true."""

from __future__ import annotations

from collections import OrderedDict, deque
from datetime import UTC, datetime

from datastores.storage.contract import ObjectInfo
from datastores.value import Value
from mount.fs.contract import Kind

# Metadata of objects. `mtime` is spelled the way rclone does, `is_symlink` the way blobfuse does.
MTIME = "mtime"
IS_LINK = "is_symlink"

RECENT_CHANGES = 1024


# Nothing in it refers to anything: the garbage collector, which took half of the time of a cold
# listing, need not look at 100,000 of them again and again.
class Fact(Value, gc=False):
    """One name as the store knows it; without a kind there is nothing under it."""

    kind: Kind | None
    size: int = 0
    version: str | None = None
    modified_ns: int | None = None
    # What the writer declared for all of the bytes, if anything.
    md5: bytes | None = None


ABSENT = Fact(None)
FOLDER = Fact(Kind.FOLDER)


def fact_of(info: ObjectInfo) -> Fact:
    if not info.metadata:  # most objects of most listings
        return Fact(Kind.FILE, info.size, info.version, info.modified_ns, info.md5)
    metadata = {name.lower(): value for name, value in info.metadata.items()}
    is_link = metadata.get(IS_LINK, "").lower() == "true"
    modified_ns = parse_mtime(metadata.get(MTIME, ""))
    return Fact(
        Kind.LINK if is_link else Kind.FILE,
        info.size,
        info.version,
        info.modified_ns if modified_ns is None else modified_ns,
        info.md5,
    )


def spell_mtime(modified_ns: int) -> str:
    """A time as object metadata."""
    seconds, rest = divmod(modified_ns, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def parse_mtime(text: str) -> int | None:
    """The time that metadata names; None for what is none."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    try:
        moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
        rest = int(fraction[:9].ljust(9, "0")) if fraction else 0
    except ValueError:
        return None
    return int(moment.timestamp()) * 10**9 + rest


class FactCache:
    """Facts about names that have no node, the oldest dropped first; used under a lock."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._facts: OrderedDict[str, tuple[Fact, float]] = OrderedDict()

    def put(self, key: str, fact: Fact, until: float) -> None:
        facts = self._facts
        facts[key] = (fact, until)
        facts.move_to_end(key)
        if len(facts) > self._most:
            facts.popitem(last=False)

    def get(self, key: str, now: float) -> tuple[Fact, float] | None:
        found = self._facts.get(key)
        if found is None or found[1] <= now:
            self._facts.pop(key, None)
            return None
        return found

    def last(self, key: str) -> tuple[Fact, float] | None:
        """What was heard last, be it still believed or not."""
        return self._facts.get(key)

    def drop(self, key: str) -> None:
        self._facts.pop(key, None)

    def drop_below(self, key: str) -> None:
        """Forget a folder with all that is in it."""
        for known in [k for k in self._facts if k == key or k.startswith(key + "/")]:
            del self._facts[known]

    def absent(self) -> list[str]:
        """What is known not to exist."""
        return [key for key, (fact, _) in self._facts.items() if fact is ABSENT]

    def clear(self) -> None:
        self._facts.clear()


class RecentChanges:
    """What this mount changed lately, so that an answer asked for before is not believed after.

    Used under a lock.
    """

    def __init__(self) -> None:
        self.count = 0
        self._keys: deque[str] = deque(maxlen=RECENT_CHANGES)

    def note(self, *keys: str) -> None:
        for key in keys:
            self.count += 1
            self._keys.append(key)

    def touched(self, key: str, since: int) -> bool:
        """Whether the key, or a folder above it, may have changed after `since`."""
        behind = self.count - since
        if behind > len(self._keys):
            return True
        recent = list(self._keys)[len(self._keys) - behind :] if behind else ()
        return any(key == changed or key.startswith(changed + "/") for changed in recent)

    def inside(self, place: str, since: int) -> set[str] | None:
        """Names directly in a folder that may have changed after `since`; None if all may have."""
        behind = self.count - since
        if not behind:
            return set()
        if behind > len(self._keys):
            return None
        names: set[str] = set()
        for changed in list(self._keys)[len(self._keys) - behind :]:
            if place == changed or place.startswith(changed + "/"):
                return None
            folder, _, name = changed.rpartition("/")
            if folder == place:
                names.add(name)
        return names
