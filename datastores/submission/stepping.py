"""A pipeline order: steps in the order of what they need, several at once."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from datastores.catalog.workspace import Workspace
from datastores.errors import quoted
from datastores.history.records import RunRecord
from datastores.history.status import Status
from datastores.submission.book import Book
from datastores.submission.ending import Ending
from datastores.submission.order import PipelineOrder, StepOrder
from datastores.submission.place import RunPlace, place_of

log = logging.getLogger(__name__)

_TICK_SECONDS = 0.2
# Looks at the registry, in rounds.
_ASK_EVERY = 10
_CANCELED_CODE = 130


# Carries out the order in one run's folder, to its end.
Perform: TypeAlias = Callable[[str, RunPlace], Ending]


def run_steps(
    workspace: Workspace, perform: Perform, order: PipelineOrder, place: RunPlace, book: Book
) -> Ending:
    """Carry out all steps; what an earlier runner completed is not done again."""
    book.reach(Status.RUNNING)
    stepping = _Stepping(workspace, perform, order, place, book)
    with ThreadPoolExecutor(order.at_once, "datastores-step") as pool:
        stepping.until_end(pool)
    return stepping.ending()


@dataclass(slots=True)
class _Stepping:
    """The steps of one pipeline; only the runner's main thread is in it."""

    workspace: Workspace
    perform: Perform
    order: PipelineOrder
    place: RunPlace
    book: Book
    ended: dict[str, Ending] = field(default_factory=dict)
    # Steps that were not started, with the reason.
    left_out: dict[str, str] = field(default_factory=dict)
    running: dict[Future[Ending], StepOrder] = field(default_factory=dict)
    is_canceled: bool = False
    rounds: int = 0

    def until_end(self, pool: ThreadPoolExecutor) -> None:
        """Start what is ready, wait for what runs, until nothing is left."""
        for step in self.order.steps:
            self._take_over(step)
        while True:
            self._look_for_cancel()
            self._leave_out()
            self._start_ready(pool)
            if not self.running:
                return
            done, _ = concurrent.futures.wait(
                self.running, _TICK_SECONDS, concurrent.futures.FIRST_COMPLETED
            )
            for one in done:
                self.ended[self.running.pop(one).name] = one.result()

    def ending(self) -> Ending:
        """What the pipeline came to."""
        report = self._report()
        if self.is_canceled:
            return Ending(Status.CANCELED, _CANCELED_CODE, None, report)
        failed = [step for step in self.order.steps if self._has_failed(step.name)]
        if not failed:
            return Ending(Status.COMPLETED, 0, None, report)
        first = self.ended[failed[0].name]
        sentence = f'step "{failed[0].name}" {_verb(first)}'
        if first.error:
            sentence += f": {first.error}"
        if self.left_out:
            sentence += f" (not started: {quoted(list(self.left_out))})"
        return Ending(Status.FAILED, first.exit_code or 1, sentence, report)

    def _take_over(self, step: StepOrder) -> None:
        record = self.book.history.get(step.run_id)
        if record.is_finished:
            self.ended[step.name] = Ending(
                record.status, record.exit_code or 0, record.error, record.report
            )

    def _look_for_cancel(self) -> None:
        self.rounds += 1
        if self.is_canceled:
            return
        is_asked = self.rounds % _ASK_EVERY == 0 and self.book.cancel_is_wanted()
        if is_asked or self.place.cancel_mark.exists():
            self.is_canceled = True
            for step in self.running.values():
                place_of(self.workspace, step.run_id).cancel_mark.touch()

    def _leave_out(self) -> None:
        for step in self.order.steps:
            reason = None if self._is_settled(step) else self._reason_against(step)
            if reason is not None:
                self.left_out[step.name] = reason
                self.book.history.update(step.run_id, _left_out_record(reason))

    def _reason_against(self, step: StepOrder) -> str | None:
        if self.is_canceled:
            return "the pipeline was canceled before this step"
        for name in step.after:
            if self._has_failed(name):
                return f'not started, since step "{name}" {_verb(self.ended[name])}'
            if name in self.left_out:
                return f'not started, since step "{name}" was not'
        if not self.order.continue_on_step_failure:
            for name, ending in self.ended.items():
                if self._has_failed(name):
                    return (
                        f'not started, since step "{name}" {_verb(ending)}; '
                        f"continue_on_step_failure=True goes on with independent steps"
                    )
        return None

    def _start_ready(self, pool: ThreadPoolExecutor) -> None:
        for step in self.order.steps:
            if len(self.running) == self.order.at_once:
                return
            if not self._is_settled(step) and all(name in self.ended for name in step.after):
                log.info('step "%s" starts as run %s', step.name, step.run_id)
                where = place_of(self.workspace, step.run_id)
                self.running[pool.submit(self.perform, step.run_id, where)] = step

    def _is_settled(self, step: StepOrder) -> bool:
        """Whether there is nothing to decide about it any more."""
        name = step.name
        return name in self.ended or name in self.left_out or step in self.running.values()

    def _has_failed(self, name: str) -> bool:
        return name in self.ended and self.ended[name].status is not Status.COMPLETED

    def _report(self) -> Mapping[str, Any]:
        return {
            "steps": [
                {
                    "name": step.name,
                    "run_id": step.run_id,
                    "status": str(self.ended[step.name].status)
                    if step.name in self.ended
                    else str(Status.CANCELED),
                    "reason": self.left_out.get(step.name)
                    or (self.ended[step.name].error if step.name in self.ended else None),
                    "seconds": _seconds(self.ended.get(step.name)),
                }
                for step in self.order.steps
            ]
        }


def _verb(ending: Ending) -> str:
    return "was canceled" if ending.status is Status.CANCELED else "failed"


def _seconds(ending: Ending | None) -> float:
    return float(ending.report.get("seconds", 0.0)) if ending and ending.report else 0.0


def _left_out_record(reason: str) -> Callable[[RunRecord], RunRecord]:
    def decide(record: RunRecord) -> RunRecord:
        return replace(record, status=Status.CANCELED, error=reason)

    return decide
