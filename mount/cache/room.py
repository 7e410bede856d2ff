"""Quota and reserve: whoever wants to write asks here first, and evicts when there is no room."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from datastores.value import Value
from mount.cache import lease
from mount.cache.census import take_census
from mount.cache.eviction import Entry, in_order_of_eviction, plan_eviction
from mount.cache.grant import Grant
from mount.cache.layout import (
    HEAD_SUFFIX,
    MAP_SUFFIX,
    Layout,
    charge_of,
    has_head,
    is_at,
    unlink_if_there,
)
from mount.cache.ledger import Ledger, LedgerTorn, Numbers
from mount.cache.trouble import Trouble

# What a census remembers for the evictions after it: a few megabytes of memory.
_MOST_KNOWN = 25_000
_LARGEST_GRANT_BYTES = 8 * 1024 * 1024
# A few milliseconds: whoever waits for room sees it before it gives up.
_BATCH_OF_DROPS = 64


class Limits(Value):
    """How much the cache may take, and how it takes it."""

    quota_bytes: int
    reserve_bytes: int
    # Recency is written to disk when the last note is older; 2 us each.
    touch_seconds: float = 60.0
    # After an eviction that freed too little, further requests are refused unasked for so long:
    # a count of all files per request would make a full disk slow.
    refuse_seconds: float = 1.0
    # One process evicts; the others wait so long for it.
    evictor_wait_seconds: float = 2.0
    # What a process takes ahead for small files; None: up to 8 MiB, and little of the quota, of
    # which every process that ever brought one in keeps so much. A file by itself cost two locks,
    # two transfers of the ledger and a statvfs: 20 us, and five turns of the interpreter.
    ahead_bytes: int | None = None

    @property
    def slack_bytes(self) -> int:
        """What an eviction frees beyond the need, so that it is rare."""
        return self.quota_bytes // 20

    @property
    def grant_bytes(self) -> int:
        """What one process has taken and not used at most."""
        if self.ahead_bytes is None:
            return min(_LARGEST_GRANT_BYTES, self.quota_bytes // 1024)
        return self.ahead_bytes


class Room:
    """The room of one cache folder, shared with every process through the ledger."""

    def __init__(
        self, layout: Layout, limits: Limits, trouble: Trouble, clock_ns: Callable[[], int]
    ) -> None:
        self._layout = layout
        self._limits = limits
        self._trouble = trouble
        self._clock_ns = clock_ns
        self.ledger = Ledger(layout.usage)
        self._grant = Grant(layout.incoming, limits.grant_bytes)
        self._granting = threading.Lock()
        # Written by any thread; a stale reading costs one more or one fewer census.
        self._refused_until = 0.0
        self._refused_bytes = 0
        self._is_open = True
        # What the last census found oldest, in that order; of whoever holds the lock of `evicting`.
        self._known: deque[Entry] = deque()

    def close(self) -> None:
        """Afterwards nothing more is written; files that were handed out may still be read."""
        if left := self._grant.lapse():
            self.give(left)
        self._is_open = False
        try:
            self._grant.close()
        except OSError as error:
            self._trouble.note("give room back", error)
        self.ledger.close()

    def count(self, hits: int, misses: int) -> bool:
        """Add to the node's hits and misses; False when they could not be written down."""
        try:
            self.ledger.add(hits=hits, misses=misses)
        except OSError as error:
            self._note(error)
            return False
        return True

    def spend(self, charge: int) -> bool:
        """Count a small file from what was taken ahead; `settle` follows. False: `take` it."""
        if self._grant.spend(charge):
            return True
        if not self._is_open or charge > self._grant.most_bytes:
            return False
        # One thread asks for all who wait.
        with self._granting:
            return self._grant.spend(charge) or (self._is_extended() and self._grant.spend(charge))

    def settle(self, charge: int, *, is_here: bool) -> None:
        """What was spent is a file by now, or will not be: then the disk is asked again."""
        self._grant.settle(charge)
        if not is_here:
            self.give(charge + self._grant.lapse())

    def take(self, charge: int, incoming: str = "") -> bool:
        """Count bytes that are about to be written; evicts for them if it must.

        `incoming` is the file they will be in, if it has a name already: it is not counted twice.
        """
        begin = time.monotonic()
        try:
            if not self._is_open or charge > self._limits.quota_bytes or self._is_refused(charge):
                return False
            if self._fits(charge, incoming):
                return True
            self.evict(charge, incoming)
            if self._fits(charge, incoming):
                return True
        except OSError as error:
            self._trouble.note("make room", error)
        self._refuse(charge, time.monotonic() - begin)
        return False

    def give(self, charge: int, evictions: int = 0) -> None:
        """Count bytes that are no longer on the disk."""
        if not self._is_open:
            return
        try:
            self.ledger.add(used=-charge, evictions=evictions)
        except OSError as error:
            self._note(error)

    def evict(self, charge: int, incoming: str = "") -> None:
        """Free enough for a charge; what cannot be freed is in use."""
        fd = os.open(self._layout.evicting, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if lease.own(fd, self._limits.evictor_wait_seconds) and not self._has_room(charge):
                self._evict_alone(charge, incoming)
        finally:
            os.close(fd)

    def recount(self, incoming: str = "") -> tuple[list[Entry], Numbers]:
        """The census, with the ledger set right by it."""
        try:
            before = self.ledger.read().ever_taken
        except LedgerTorn:
            before = 0
        entries, counted = take_census(self._layout, self._clock_ns(), incoming)
        return entries, self.ledger.correct(counted, before)

    def drop(self, entry: Entry, *, even_if_used: bool = True) -> int:
        """Remove a file that nobody holds, and what that freed; 0 if it is held, or gone already.

        With `even_if_used` False it also stays if it was used since the entry was made.
        """
        charge = self._unlinked(entry, even_if_used)
        if charge:
            self.give(charge, evictions=1)
        return charge

    def _unlinked(self, entry: Entry, even_if_used: bool) -> int:
        top, suffix = (
            (self._layout.partial, MAP_SUFFIX)
            if entry.is_partial
            else (self._layout.files, HEAD_SUFFIX)
        )
        path = f"{top}/{entry.name}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            stat = os.fstat(fd)
            was_used = min(stat.st_atime_ns, self._clock_ns()) > entry.used_ns
            if not lease.own(fd) or not is_at(stat, path) or (was_used and not even_if_used):
                return 0
            # Data before its head: data without a head would be unverifiable, a head alone is
            # swept up by a later census.
            os.unlink(path)  # noqa: PTH108  # text paths here
            if entry.is_partial or has_head(stat.st_size):
                unlink_if_there(path + suffix)
            return charge_of(stat, is_partial=entry.is_partial)
        except FileNotFoundError:
            return 0
        finally:
            os.close(fd)

    def _is_extended(self) -> bool:
        """Whether more could be taken ahead; nothing is evicted for that."""
        try:
            amount = self._grant.open()
            if self._is_refused(amount) or not self._has_free(amount):
                return False
            # If nothing is left and under way, the file that stands for it stands for nothing.
            incoming = self._grant.path if amount == self._grant.most_bytes else ""
            if not self._is_taken(amount, incoming):
                return False
        except OSError:
            # Whoever gets no room here asks for it by `take`, which finds and notes the same.
            return False
        self._grant.add(amount)
        return True

    def _evict_alone(self, charge: int, incoming: str) -> None:
        if self._evict_known(charge):
            return
        entries, numbers = self.recount(incoming)
        usage = numbers.used
        quota = self._limits.quota_bytes - charge
        reserve = self._limits.reserve_bytes + charge
        while plan := self._plan(entries, usage, quota, reserve):
            tried = {(entry.name, entry.is_partial) for entry in plan}
            usage -= self._drop_all(plan)
            entries = [entry for entry in entries if (entry.name, entry.is_partial) not in tried]
        self._remember(entries)

    def _evict_known(self, charge: int) -> bool:
        """Whether the oldest files of the last census made room, without another one.

        A file that was used since stays; all that came since is younger, so this is the order that
        a new census would find.
        """
        if not self._known:
            return False
        spare = self._limits.slack_bytes // 16
        try:
            enough = self._excess(charge) + spare
            self._drop_all(self._oldest(), even_if_used=False, enough=enough)
            return self._excess(charge) <= 0
        except LedgerTorn:
            return False

    def _excess(self, charge: int) -> int:
        """How many bytes too many there would be on the disk."""
        over_quota = self.ledger.read().used + charge - self._limits.quota_bytes
        return max(over_quota, self._limits.reserve_bytes + charge - self._free_bytes())

    def _remember(self, entries: Iterable[Entry]) -> None:
        self._known.clear()
        left = self._limits.quota_bytes // 4
        for entry in in_order_of_eviction(entries)[:_MOST_KNOWN]:
            if left <= 0:
                return
            left -= entry.charge
            self._known.append(entry)

    def _oldest(self) -> Iterator[Entry]:
        while self._known:
            yield self._known.popleft()

    def _drop_all(
        self, entries: Iterable[Entry], *, even_if_used: bool = True, enough: float = math.inf
    ) -> int:
        """How many bytes went, given back by the batch: one by one the ledger cost as much as that."""
        freed = batch = count = 0
        for entry in entries:
            charge = self._dropped(entry, even_if_used)
            freed, batch, count = freed + charge, batch + charge, count + (charge > 0)
            if count >= _BATCH_OF_DROPS:
                self.give(batch, evictions=count)
                batch = count = 0
            if freed >= enough:
                break
        if count:
            self.give(batch, evictions=count)
        return freed

    def _dropped(self, entry: Entry, even_if_used: bool) -> int:
        try:
            return self._unlinked(entry, even_if_used)
        except OSError as error:
            # One file that cannot be removed must not keep the others.
            self._trouble.note("evict", error)
            return 0

    def _plan(self, entries: list[Entry], usage: int, quota: int, reserve: int) -> Sequence[Entry]:
        """What must go, and as much more as the slack allows, which spares the next census."""
        free = self._free_bytes()
        needed = plan_eviction(entries, usage, quota, free, reserve)
        if not needed or usage <= quota:
            return needed
        generous = plan_eviction(entries, usage, quota - self._limits.slack_bytes, free, reserve)
        return max(needed, generous[:-1], key=len)

    def _fits(self, charge: int, incoming: str) -> bool:
        return self._has_free(charge) and self._is_taken(charge, incoming)

    def _is_taken(self, charge: int, incoming: str) -> bool:
        try:
            return self.ledger.take(charge, self._limits.quota_bytes)
        except LedgerTorn:
            self.recount(incoming)
            return self.ledger.take(charge, self._limits.quota_bytes)

    def _has_room(self, charge: int) -> bool:
        """Whether somebody else made room while this process waited to."""
        try:
            used = self.ledger.read().used
        except LedgerTorn:
            return False
        return used + charge <= self._limits.quota_bytes and self._has_free(charge)

    def _has_free(self, charge: int) -> bool:
        return self._free_bytes() - charge >= self._limits.reserve_bytes

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._layout.folder)
        return disk.f_bavail * disk.f_frsize

    def _is_refused(self, charge: int) -> bool:
        return charge >= self._refused_bytes and time.monotonic() < self._refused_until

    def _refuse(self, charge: int, spent_seconds: float) -> None:
        self._refused_bytes = charge
        # Asking in vain takes a twentieth of the time at most, however many files there are.
        pause = max(1.0, 20 * spent_seconds) * self._limits.refuse_seconds
        self._refused_until = time.monotonic() + pause

    def _note(self, error: OSError) -> None:
        if isinstance(error, LedgerTorn):
            try:
                self.recount()
            except OSError as failed:
                self._trouble.note("count files", failed)
        else:
            self._trouble.note("keep the ledger", error)
