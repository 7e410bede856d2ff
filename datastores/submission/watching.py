"""One agent at work, seen from the control plane: status, events, leases, the wish to end."""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import dataclass, field
from typing import Protocol

from datastores.contract import JobSpec, LeaseSpec, SnapshotSource, control
from datastores.errors import DatastoresError
from datastores.history.status import Status
from datastores.secret import redact
from datastores.submission.agent_process import AgentEnd, AgentProcess, FoundAgent
from datastores.submission.book import Book
from datastores.submission.leasing import Lessor, leases_of, renewal_moment
from datastores.submission.order import JobOrder, order_to_wire
from datastores.submission.place import RunPlace

log = logging.getLogger(__name__)

# What a person sees as "at once", and what is enough for a run that takes long.
_TICK_SECONDS, _SLOW_TICK_SECONDS = 0.2, 1.0
_YOUNG_SECONDS = 30.0
# Looks at the registry, which other machines may share.
_ASK_SECONDS = 2.0
_RENEW_AGAIN_SECONDS = 20.0
# An agent that does not listen by then never will.
_DEAF_SECONDS = 5.0
# A machine that kills the agent again and again has no room for the run.
_MOST_STARTS = 3

_PHASES = {
    "staging": Status.PREPARING,
    "running": Status.RUNNING,
    "flushing": Status.FINALIZING,
    "releasing": Status.FINALIZING,
    "sealing": Status.FINALIZING,
}


class Agent(Protocol):
    """An agent, started here or found at work."""

    def wait(self, seconds: float) -> int | None: ...
    def interrupt(self) -> None: ...
    def last_words(self) -> str | None: ...


def run_agent(
    place: RunPlace,
    order: JobOrder,
    lessor: Lessor,
    book: Book,
    waiting: AgentProcess | None = None,
) -> AgentEnd:
    """Have the job done by an agent, here or still at work, and look after it until it ends.

    The first one may be `waiting` for the job already. One that is killed is followed by another,
    which goes on where it was.
    """
    for _ in range(_MOST_STARTS):
        watch = _open_watch(place, order, lessor, book, waiting)
        waiting = None
        code = watch.until_end()
        if code >= 0 or code == -signal.SIGINT:
            break
        log.warning("the agent was killed by signal %s; another one goes on", -code)
    return AgentEnd(code, watch.agent.last_words())


def _open_watch(
    place: RunPlace, order: JobOrder, lessor: Lessor, book: Book, waiting: AgentProcess | None
) -> _Watch:
    if not place.agent_is_gone():
        log.info("an agent is at work already")
        # Nobody knows what it was given: it gets fresh leases at once.
        return _Watch(place, order.spec, lessor, book, FoundAgent(place), time.time())
    # It loads its modules while the vault and the store are asked for leases.
    agent = waiting or AgentProcess.launch(place, order_to_wire(order))
    try:
        leased = lessor.with_leases(order.spec)
        agent.tell(leased)
    finally:
        agent.dismiss()
    log.info("agent %s started", agent.pid)
    return _Watch(place, order.spec, lessor, book, agent, renewal_moment(_all_leases(leased)))


@dataclass(slots=True)
class _Watch:
    """The rounds of one watch; only the runner's thread is in it."""

    place: RunPlace
    spec: JobSpec
    lessor: Lessor
    book: Book
    agent: Agent
    # None where no lease ever ends.
    renew_at: float | None
    cancel_since: float | None = None
    is_told: bool = False
    asked_at: float = field(default_factory=time.monotonic)
    began: float = field(default_factory=time.monotonic)

    def until_end(self) -> int:
        """Make rounds until the agent has left; its exit code."""
        while (code := self.agent.wait(self._pause())) is None:
            self._round()
        self.book.ingest(is_over=True)
        return code

    def _pause(self) -> float:
        is_young = time.monotonic() - self.began < _YOUNG_SECONDS
        return _TICK_SECONDS if is_young else _SLOW_TICK_SECONDS

    def _round(self) -> None:
        self.book.ingest()
        self._pass_on_cancel()
        self._note_phase()
        if self.renew_at is not None and time.time() >= self.renew_at:
            self._renew()

    def _pass_on_cancel(self) -> None:
        if self.is_told or not self._is_canceled():
            return
        now = time.monotonic()
        self.cancel_since = self.cancel_since or now
        try:
            self.is_told = control.cancel(self.place.root) is not None
        except DatastoresError as error:
            log.warning("the agent could not be told to end: %s", redact(str(error)))
        if not self.is_told and now - self.cancel_since > _DEAF_SECONDS:
            self.agent.interrupt()
            self.is_told = True

    def _is_canceled(self) -> bool:
        if self.place.cancel_mark.exists():
            return True
        now = time.monotonic()
        if now - self.asked_at < _ASK_SECONDS:
            return False
        self.asked_at = now
        return self.book.cancel_is_wanted()

    def _note_phase(self) -> None:
        try:
            found = control.status(self.place.root)
        except DatastoresError as error:
            log.warning("the agent does not say where it is: %s", redact(str(error)))
            return
        status = _PHASES.get(found.phase) if found else None
        if status is not None:
            self.book.reach(status)

    def _renew(self) -> None:
        try:
            leased = self.lessor.with_leases(self.spec)
            source = leased.source.lease if isinstance(leased.source, SnapshotSource) else None
            told = control.send_leases(self.place.root, leases_of(leased), source=source)
        except DatastoresError as error:
            log.warning("leases could not be renewed: %s", redact(str(error)))
            told = None
        if told is None:
            # Soon enough to try several times before the end.
            pause = min(_RENEW_AGAIN_SECONDS, self.lessor.lifetime_seconds / 20)
            self.renew_at = time.time() + pause
            return
        self.renew_at = renewal_moment(_all_leases(leased))
        log.info("leases renewed")


def _all_leases(spec: JobSpec) -> dict[str, LeaseSpec]:
    found = leases_of(spec)
    if isinstance(spec.source, SnapshotSource) and spec.source.lease is not None:
        # A name that no reference can have.
        found[""] = spec.source.lease
    return found
