"""Counters of a mount as a report, with findings that say what to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from datastores.value import Value
from mount.report.words import bytes_in_words, share_in_words

_GIB = 1 << 30
# Less is not worth a sentence, or a larger cache.
_FEW_BYTES = 64 << 20
_FEW_SECONDS = 1.0
_MUCH_WASTE = 0.3
_LOW_SHARE = 0.5


class Finding(Value):
    """One sentence about what happened, and what would change it; nothing where all is well."""

    what: str
    advice: str = ""


class Report(Value):
    """One mount's work. Shares lie between 0 and 1, and are None where nothing was counted.

    `hit_rate` counts file versions that were opened; `blocked_seconds` adds up all callers, so it
    may exceed the time that passed.
    """

    opens: int
    requests: int
    bytes_read: int
    bytes_fetched: int
    bytes_written: int
    bytes_sent: int
    dirty_bytes: int
    restarts: int
    blocked_seconds: float
    hit_rate: float | None
    passthrough_share: float | None
    ahead_waste: float | None
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def summarise(counters: Mapping[str, int | float]) -> Report:
    """The report of a mount's counters; what a host does not count is taken as zero."""
    count = _reader(counters)
    hits, misses = count("cache_hits"), count("cache_misses")
    return Report(
        opens=count("opens"),
        requests=count("requests"),
        bytes_read=count("bytes_read"),
        bytes_fetched=count("bytes_fetched"),
        bytes_written=count("bytes_written"),
        bytes_sent=count("bytes_sent"),
        dirty_bytes=count("dirty_bytes"),
        restarts=count("restarts"),
        blocked_seconds=float(counters.get("blocked_seconds", 0.0)),
        hit_rate=_share(hits, hits + misses),
        passthrough_share=_share(count("backed_opens"), count("opens")),
        ahead_waste=_share(count("bytes_ahead_unused"), count("bytes_ahead")),
        findings=tuple(_findings(counters)),
    )


def _findings(counters: Mapping[str, int | float]) -> list[Finding]:
    looks = (_unsent, _waiting, _no_room, _waste, _copied, _changed, _damaged, _healed)
    return [found for look in looks if (found := look(_reader(counters), counters))]


def _unsent(count: _Count, _: Mapping[str, int | float]) -> Finding | None:
    failed, dirty = count("failed_uploads"), count("dirty_bytes")
    if failed:
        return Finding(
            f"{_many(failed, 'upload')} failed; the bytes are on this node",
            'send them with "datastores-agent recover"',
        )
    if dirty:
        return Finding(
            f"{bytes_in_words(dirty)} were written and are not in the store yet",
            "close the files that are open for writing",
        )
    return None


def _waiting(count: _Count, counters: Mapping[str, int | float]) -> Finding | None:
    seconds = float(counters.get("blocked_seconds", 0.0))
    missed = _share(count("cache_misses"), count("cache_hits") + count("cache_misses"))
    if seconds < _FEW_SECONDS or not missed:
        return None
    return Finding(
        f"{share_in_words(missed)} of the opened files were not in the cache, and callers waited "
        f"{seconds:.1f} s for the store",
        "--warm fetches them before they are read",
    )


def _no_room(count: _Count, _: Mapping[str, int | float]) -> Finding | None:
    without, evictions = count("without_cache"), count("evictions")
    if not without and not (evictions and count("bytes_fetched") > _FEW_BYTES):
        return None
    happened = (
        f"{_many(without, 'file')} found no room in the cache"
        if without
        else f"the cache dropped {_many(evictions, 'file')} to make room"
    )
    # Everything that was fetched, and what is there, would have fitted into this.
    wanted = max(1, math.ceil((count("bytes_fetched") + count("cached_bytes")) / _GIB))
    return Finding(happened, f"--cache-size {wanted}GiB would have kept all that was fetched")


def _waste(count: _Count, _: Mapping[str, int | float]) -> Finding | None:
    ahead, unused = count("bytes_ahead"), count("bytes_ahead_unused")
    share = _share(unused, ahead)
    if share is None or unused < _FEW_BYTES or share < _MUCH_WASTE:
        return None
    return Finding(
        f"{bytes_in_words(unused)} were read ahead and never asked for "
        f"({share_in_words(share)} of the read-ahead)",
        "files that are read here and there are cheaper whole: --warm them",
    )


def _copied(count: _Count, counters: Mapping[str, int | float]) -> Finding | None:
    share = _share(count("backed_opens"), count("opens"))
    if counters.get("passthrough", True) or share is None or count("bytes_read") < _FEW_BYTES:
        return None
    if share >= _LOW_SHARE:
        return None
    return Finding(
        f"{bytes_in_words(count('bytes_read'))} were copied through this program, because the "
        f"kernel does not read cached files by itself here",
        "mount as root on Linux 6.9 or newer",
    )


def _changed(count: _Count, _: Mapping[str, int | float]) -> Finding | None:
    stale = count("stale_reads")
    if not stale:
        return None
    return Finding(
        f"{_many(stale, 'read')} failed because the object was replaced while it was open",
        "write new data under new names",
    )


def _damaged(count: _Count, _: Mapping[str, int | float]) -> Finding | None:
    broken = count("broken_cached") + count("flawed_bodies")
    if not broken:
        return None
    return Finding(
        f"{_many(broken, 'damaged body', 'damaged bodies')} were noticed and fetched again",
        '"datastores-agent cache verify" reads the whole cache',
    )


def _healed(count: _Count, _: Mapping[str, int | float]) -> Finding | None:
    restarts = count("restarts")
    if not restarts:
        return None
    return Finding(
        f"the mount's process was replaced {_many(restarts, 'time')}, and callers noticed a pause",
        "its log says why; look for the kernel's out-of-memory killer",
    )


_Count = Callable[[str], int]


def _reader(counters: Mapping[str, int | float]) -> _Count:
    return lambda name: int(counters.get(name, 0))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _many(number: int, one: str, more: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"
