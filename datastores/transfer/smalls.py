"""The small files of one download: here, or by other processes once there are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from datastores.transfer.crew import Work
from datastores.transfer.lanes import WORTH_IT, Lanes
from datastores.transfer.small_file import fetch_small

if TYPE_CHECKING:
    from datastores.transfer.lane import Outcome
    from datastores.transfer.planning import Fetch
    from datastores.transfer.session import Session

# What a small file holds while it is on its way.
SMALL_WEIGHT = 1 << 20


class _SmallWork(Work):
    """The work of one small file."""

    fetch: Fetch | None = None


class Smalls:
    """Makes work of small files; `work` is for one thread."""

    def __init__(self, session: Session, lanes: Lanes) -> None:
        self._session = session
        self._lanes = lanes
        self._found = 0
        # One and the same object for all work, so that the crew sees what goes together.
        self._together = self._fetch_together

    def work(self, fetch: Fetch) -> Work:
        """The work of fetching one object."""
        self._found += 1
        weight = min(fetch.info.size, SMALL_WEIGHT)
        # An empty object may be a folder's marker, which only this process knows about.
        many = self._found > WORTH_IT and self._lanes.count and fetch.info.size
        together = self._together if many else None
        return _SmallWork(lambda: self._fetch(fetch), weight, together, fetch)

    def _fetch_together(self, works: Sequence[Work]) -> None:
        self._session.crew.check()
        fetches = [work.fetch for work in works if isinstance(work, _SmallWork) and work.fetch]
        handed = self._lanes.fetch(fetches)
        answer, budget = handed.answer, self._session.budget
        budget.helped(answer.spent_seconds, answer.refusals)
        for fetch, outcome in zip(handed.fetches, answer.outcomes, strict=False):
            self._note(fetch, outcome)
        brought = [outcome for outcome in answer.outcomes if isinstance(outcome, int)]
        if brought:
            budget.done(sum(brought), len(brought))
        for fetch in handed.fetches[len(answer.outcomes) :]:
            self._session.crew.check()
            budget.done(self._fetch(fetch))

    def _note(self, fetch: Fetch, outcome: Outcome) -> None:
        session, ledger = self._session, self._session.ledger
        if isinstance(outcome, int):
            ledger.started(fetch.name)
            ledger.moved(fetch.name, outcome)
            ledger.finished(fetch.name)
        else:
            ledger.skipped(fetch.name, outcome)
        session.space.settle(fetch.info.size)

    def _fetch(self, fetch: Fetch) -> int | None:
        session = self._session
        try:
            return fetch_small(session, fetch)
        except Exception as error:  # noqa: BLE001  # reported with the file's name
            session.fail(fetch.name, error)
            return None
        finally:
            session.space.settle(fetch.info.size)
