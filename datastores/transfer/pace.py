"""How many requests at once: found by trying, given up on throttling."""

from __future__ import annotations

import math
from dataclasses import dataclass

# A request costs about as much as this many bytes, so that a rate means something for a mix of
# small and large files.
REQUEST_BYTES = 1 << 18
# Doubling must bring a fifth of what was hoped for, or the extra requests only wait in a queue.
WANTED_GAIN = 0.2
# Fewer requests with this share of the rate are better: each one costs memory and CPU.
TOLERATED_LOSS = 0.03
LONGEST_HOLD = 32
# Processes that compute for this share of the time have enough requests under way: more of them
# only wake each other. 5,000 x 100 KiB from a near host: 2.0 CPU-s with 4, 4.2 with 64. Shares were
# 0.65 to 0.75 with 4 and 0.6 to 0.9 with 64: others on the machine have to compute, too.
CROWDED = 0.65
# Of fewer requests a second it is not they that keep the processor busy, but the start; and requests
# that take longer are under way and not in each other's way. From a host 100 ms away a quarter of
# the requests was a quarter of the pace, for seconds.
CROWD_A_SECOND = 1000
CROWDED_SECONDS = 0.05
# Above it a request spends its time in calls that do not hold the interpreter.
SMALL_BYTES = 1 << 20


@dataclass(slots=True)
class Pace:
    """The number of requests allowed now; pure, the caller brings the clock.

    It doubles while doubling helps, then tries a quarter more or a fifth less from time to time, or
    a quarter of it where the processor and not the network is the limit, and keeps what did better.
    A change is judged by what began after it: as many calls of `done` as there were requests under
    way are not counted. Throttling halves it, and nothing grows until the pause the service asked
    for is over. Not thread-safe: its owner holds a lock.
    """

    limit: float = 16.0
    least: int = 2
    most: int = 192
    window_seconds: float = 0.25
    first_window_seconds: float = 0.1
    opening: bool = True
    # What to compare with: the limit and the rate before the change under trial.
    before: tuple[float, float] | None = None
    hold: int = 0
    next_hold: int = 4
    rising: bool = True
    quiet_until: float = 0.0
    # Calls that are still about requests from before the last change.
    unsettled: int = 0
    window_began: float | None = None
    window_spent: float = 0.0
    window_work: int = 0
    window_count: int = 0
    window_busiest: int = 0

    @property
    def allowed(self) -> int:
        return max(self.least, min(self.most, int(self.limit)))

    def done(
        self, now: float, moved: int, busy: int, spent: float = 0.0, requests: int = 1
    ) -> None:
        """Requests ended and moved so many bytes, while so many were under way.

        `spent` is the processor time of this process so far.
        """
        if self.unsettled:
            self.unsettled -= 1
            self.window_began = None
            return
        if self.window_began is None:
            self._open_window(now, spent)
        self.window_work += moved + requests * REQUEST_BYTES
        self.window_count += requests
        self.window_busiest = max(self.window_busiest, busy)
        elapsed = now - (self.window_began or 0.0)
        wanted = self.first_window_seconds if self.opening else self.window_seconds
        if elapsed >= wanted and self.window_count >= self.allowed:
            allowed = self.allowed
            self._judge(now, self.window_work / elapsed, crowded=self._is_crowded(elapsed, spent))
            self._open_window(now, spent)
            if self.allowed != allowed:
                # Those under way, and where there are more than before, the first of each: it may
                # make its connection.
                self.unsettled = busy + (self.allowed if self.allowed > allowed else 0)

    def disturb(self, enough: float = math.inf) -> None:
        """Others do the work now: what was found about the last change is found out anew.

        So many streams are enough as far as anybody knows: more are tried from there.
        """
        if self.before is not None:
            self.limit, self.before, self.rising = self.before[0], None, True
        if self.opening:
            self.limit = max(float(self.least), min(self.limit, enough))
        self.window_began, self.unsettled = None, 2 * self.allowed

    def throttled(self, now: float, retry_after_seconds: float | None) -> None:
        """The service asked for less."""
        if now >= self.quiet_until:
            self.limit = max(float(self.least), self.limit / 2)
        self.quiet_until = max(self.quiet_until, now + (retry_after_seconds or 1.0))
        self.opening, self.before, self.hold = False, None, 4
        self.window_began, self.unsettled = None, 0

    def _is_crowded(self, elapsed: float, spent: float) -> bool:
        return (
            self.window_work < self.window_count * (REQUEST_BYTES + SMALL_BYTES)
            and self.window_count >= CROWD_A_SECOND * elapsed
            and self.window_busiest * elapsed <= CROWDED_SECONDS * self.window_count
            and spent - self.window_spent >= CROWDED * elapsed
        )

    def _open_window(self, now: float, spent: float) -> None:
        self.window_began, self.window_spent = now, spent
        self.window_work = self.window_count = self.window_busiest = 0

    def _judge(self, now: float, rate: float, *, crowded: bool) -> None:
        if now < self.quiet_until or self.window_busiest < self.allowed * 0.8:
            # Not at the limit, so the rate says nothing about it.
            self.before = None
            return
        if self.before is None:
            if self.hold:
                self.hold -= 1
            else:
                self._try(rate, crowded=crowded)
            return
        limit, earlier = self.before
        if self.limit > limit:
            if rate >= earlier * (1 + WANTED_GAIN * (self.limit / limit - 1)):
                self.next_hold = 4
                self._try(rate, crowded=crowded)
            else:
                self._give_up(limit)
        elif rate >= earlier * (1 - TOLERATED_LOSS):
            # A start keeps the processor busy, too: what was found during it is not the last word.
            self.before, self.hold, self.rising = None, self.next_hold, self.opening
        else:
            self._give_up(limit)

    def _try(self, rate: float, *, crowded: bool) -> None:
        self.before = (self.limit, rate)
        # While threads and connections are still being made every window is better than the one
        # before, however many requests there are: 64 were reached where 4 do twice as much.
        self.rising = self.rising and not (self.opening and crowded)
        factor = _RISES[self.opening] if self.rising else _FALLS[crowded]
        self.limit = max(float(self.least), min(float(self.most), self.limit * factor))
        if int(self.limit) == int(self.before[0]):
            self.before, self.hold, self.rising = None, self.next_hold, not self.rising

    def _give_up(self, limit: float) -> None:
        self.limit, self.before, self.opening = limit, None, False
        self.rising = not self.rising
        self.hold, self.next_hold = self.next_hold, min(LONGEST_HOLD, self.next_hold * 2)


# By what the limit changes: upwards while it is looked for or later, downwards where the processor
# is not the limit or where it is.
_RISES = {True: 2.0, False: 1.25}
_FALLS = {False: 0.8, True: 0.25}
