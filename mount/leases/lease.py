"""The lease of one reference as it is now: renewed from outside while stores use it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from datastores.contract import LeaseSpec
from datastores.errors import CredentialError, CredentialExpired
from datastores.secret import redact

log = logging.getLogger(__name__)

# How long a renewal may come after the end before requests fail: a control plane that restarts,
# or a node whose network comes back, is not a reason to lose a job of days.
LATE_SECONDS = 30.0
# A service whose clock is ahead refuses a lease that still lives here.
_AHEAD_SECONDS = 5.0
# While somebody waits for a renewal, it is asked this often whether the wait still has a point.
_CHECK_SECONDS = 0.2
_REMEDY = "send new leases while the run works, or resume it with a fresh spec"


class RenewableLease:
    """What opens one place now; any thread may renew it or wait for that.

    `label` names the store in messages. None as a lease means that none is needed.
    """

    def __init__(
        self,
        label: str,
        spec: LeaseSpec | None,
        *,
        late_seconds: float = LATE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.label = label
        self._late_seconds = late_seconds
        self._clock = clock
        self._changed = threading.Condition()
        # All under the condition.
        self._spec = spec
        self._number = 0
        self._told: int | None = None
        self._trouble: str | None = None

    @property
    def spec(self) -> LeaseSpec | None:
        return self._spec

    @property
    def number(self) -> int:
        """How often it was renewed."""
        return self._number

    @property
    def trouble(self) -> str | None:
        """The sentence for the last time that it failed somebody; None when it never did."""
        return self._trouble

    def renew(self, spec: LeaseSpec) -> None:
        """From now on this one counts; who waits for it goes on at once."""
        with self._changed:
            self._spec = spec
            self._number += 1
            self._changed.notify_all()

    def forget_waiters(self) -> None:
        """In a forked child, which has none of the threads that waited here."""
        self._changed = threading.Condition()

    def current(self, check: Callable[[], None] | None = None) -> tuple[int, LeaseSpec | None]:
        """The number and the lease to use now; waits for a late renewal.

        `CredentialExpired` when it has ended and none came in time. `check` may end the wait by
        raising.
        """
        with self._changed:
            while self._has_ended():
                self._wait_or_raise(check)
            return self._number, self._spec

    def refused(
        self, number: int, error: Exception, check: Callable[[], None] | None = None
    ) -> None:
        """A service refused the lease of this number: returns when there is a newer one to try.

        Waits for it when the refused one has ended; raises the error when it has not.
        """
        with self._changed:
            while self._number == number:
                if not self._has_ended(_AHEAD_SECONDS):
                    if isinstance(error, CredentialError):
                        self._tell(error)
                    raise error
                self._wait_or_raise(check, error)

    def _has_ended(self, ahead_seconds: float = 0.0) -> bool:
        ends = self._spec.expires_at if self._spec is not None else None
        return ends is not None and ends - ahead_seconds <= self._clock()

    def _wait_or_raise(
        self, check: Callable[[], None] | None, cause: Exception | None = None
    ) -> None:
        assert self._spec is not None
        ends = self._spec.expires_at
        assert ends is not None
        left = ends + self._late_seconds - self._clock()
        if left <= 0:
            expired = CredentialExpired(self.label, datetime.fromtimestamp(ends, UTC), _REMEDY)
            self._tell(expired)
            raise expired from cause
        if check is not None:
            # Under the condition, which a check never asks for.
            check()
        self._changed.wait(min(left, _CHECK_SECONDS))

    def _tell(self, error: CredentialError) -> None:
        """Say it once for each lease; a mount may ask a thousand times a second."""
        self._trouble = redact(str(error))
        if self._told != self._number:
            self._told = self._number
            log.error("%s", self._trouble)
