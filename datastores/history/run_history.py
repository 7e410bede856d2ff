"""`RunHistory`: experiments, runs and what they logged, in a workspace's registry."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar, Unpack

from sqlalchemy import Connection

from datastores.errors import AlreadyRegistered, NotRegistered, RunRefused
from datastores.history import rows
from datastores.history.entries import Changes, Entry
from datastores.history.metrics import Metric
from datastores.history.records import (
    INTERACTIVE,
    ExperimentName,
    ExperimentRecord,
    ExperimentRemoval,
    RunFile,
    RunId,
    RunRecord,
    folder_in_store,
)
from datastores.history.showing import shown_labels, shown_metric, shown_record
from datastores.history.status import Status, may_follow
from datastores.registry import schema
from datastores.registry.registry import Registry

T = TypeVar("T")

log = logging.getLogger(__name__)

_PAGE = 200
# How far below a run its script may speak of others.
_DEEPEST = 8


class RunHistory:
    """The runs of one workspace.

    For any number of threads and processes. A method that returns has made its change durable; one
    that raises has changed nothing. What is stored is masked first: leases, variables that are
    named like secrets, and everything that `redact` knows.
    """

    def __init__(self, registry: Registry, workspace: str) -> None:
        self.registry, self.workspace = registry, workspace

    # Experiments.

    def experiments(self) -> builtins.list[ExperimentRecord]:
        """All of the workspace, by name."""
        return self._read(rows.list_experiments)

    def experiment(self, name: str) -> ExperimentRecord:
        """The experiment of this name; `NotRegistered` lists the known ones."""
        wanted = ExperimentName.parse(name)
        return self._read(lambda connection, home: self._experiment(connection, home, wanted))

    def make_experiment(self, name: str) -> ExperimentRecord:
        """The experiment of this name, made if there is none."""
        wanted = ExperimentName.parse(name)
        return self._write(lambda connection, home: _made(connection, home, wanted))

    def tag_experiment(
        self, name: str, tags: Mapping[str, str], *, remove: Collection[str] = ()
    ) -> ExperimentRecord:
        """Put tags over those of an experiment, and take some away."""
        wanted = ExperimentName.parse(name)

        def work(connection: Connection, home: str) -> ExperimentRecord:
            found = self._experiment(connection, home, wanted)
            kept = {key: value for key, value in found.tags.items() if key not in remove}
            changed = {**kept, **shown_labels(tags)}
            rows.change_experiment(connection, home, wanted, tags=changed)
            return replace(found, tags=changed)

        return self._write(work)

    def archive_experiment(self, name: str, *, archived: bool = True) -> ExperimentRecord:
        """Put an experiment away, or take it back; one that is away keeps its moment.

        The next run that is filed under it takes it back, too.
        """
        wanted = ExperimentName.parse(name)

        def work(connection: Connection, home: str) -> ExperimentRecord:
            found = self._experiment(connection, home, wanted)
            since = (found.archived or datetime.now(UTC)) if archived else None
            rows.change_experiment(connection, home, wanted, archived=since)
            return replace(found, archived=since)

        return self._write(work)

    def plan_removal(self, name: str) -> ExperimentRemoval:
        """What `remove_experiment` would do; `RunRefused` while one of its runs has not ended."""
        wanted = ExperimentName.parse(name)
        return self._read(lambda connection, home: self._removal(connection, home, wanted))

    def remove_experiment(self, name: str) -> ExperimentRemoval:
        """Forget an experiment with its runs and all they logged; their files stay where they are.

        `RunRefused` while one of its runs has not ended.
        """
        wanted = ExperimentName.parse(name)

        def work(connection: Connection, home: str) -> ExperimentRemoval:
            removal = self._removal(connection, home, wanted)
            rows.delete_experiment(connection, home, wanted)
            return removal

        return self._write(work)

    # Runs.

    def create(self, record: RunRecord) -> RunRecord:
        """Remember a new run, and its experiment if that is new; the record with its number.

        `AlreadyRegistered` if the id is taken.
        """
        shown = _parsed(shown_record(record))
        return self._write(lambda connection, home: self._create(connection, home, shown))

    def get(self, run_id: str) -> RunRecord:
        """The run of this id as it is at this moment; `NotRegistered` lists the newest ones."""
        return self._read(lambda connection, home: self._run(connection, home, run_id))

    def list(
        self,
        experiment: str | None = None,
        *,
        status: Status | Collection[Status] | None = None,
        tags: Mapping[str, str | None] | None = None,
        properties: Mapping[str, str | None] | None = None,
        type: str | None = None,  # noqa: A002  # Azure ML's word
        compute_target: str | None = None,
        parent: str | None = None,
        top_level: bool = False,
        limit: int | None = None,
        before: RunRecord | None = None,
    ) -> builtins.list[RunRecord]:
        """The newest runs, the newest first.

        A tag or property without a value asks whether there is one. `before` goes on where an
        earlier listing ended.
        """
        conditions = [
            rows.is_labelled(kind, name, value)
            for kind, labels in ((rows.TAG, tags), (rows.PROPERTY, properties))
            for name, value in (labels or {}).items()
        ]
        for column, wanted in (
            ("experiment", experiment),
            ("type", type),
            ("compute_target", compute_target),
            ("parent", parent),
        ):
            if wanted is not None:
                conditions.append(schema.runs.c[column] == wanted)
        if top_level:
            conditions.append(schema.runs.c.parent.is_(None))
        if status is not None:
            several = [status] if isinstance(status, Status) else status
            conditions.append(schema.runs.c.status.in_([one.value for one in several]))
        if before is not None:
            conditions.append(rows.is_older(before.created, before.run_id))
        return self._read(
            lambda connection, home: rows.list_runs(connection, home, conditions, limit)
        )

    def every(self, experiment: str | None = None, **filters: Any) -> Iterator[RunRecord]:
        """The runs that `list` would give, fetched page by page as they are asked for."""
        last: RunRecord | None = None
        while page := self.list(experiment, **filters, limit=_PAGE, before=last):
            yield from page
            last = page[-1]

    def change(
        self,
        run_id: str,
        *,
        only_in: Status | Collection[Status] | None = None,
        **changes: Unpack[Changes],
    ) -> RunRecord:
        """Set some fields of a run in one step, and return what it became.

        `RunRefused` when the run is not `only_in` these states, or when the new state cannot
        follow its state at that moment. Beginning and end are noted with the states that mean them,
        and what a script began below a run that ends, and left open, is canceled with it.
        """
        expected = {only_in} if isinstance(only_in, Status) else only_in

        def work(connection: Connection, home: str) -> RunRecord:
            found = self._run(connection, home, run_id)
            if expected is not None and found.status not in expected:
                wanted = ", ".join(sorted(expected))
                raise RunRefused(run_id, f"is {found.status}, not {wanted}; look again")
            return self._change(connection, home, found, changes)

        return self._write(work)

    def update(self, run_id: str, decide: Callable[[RunRecord], RunRecord]) -> RunRecord:
        """The run as `decide` makes it of what it is, in one step; `decide` may be pure only.

        Id, experiment, number, tags and properties stay.
        """

        def work(connection: Connection, home: str) -> RunRecord:
            found = self._run(connection, home, run_id)
            wanted = decide(found)
            names = Changes.__annotations__
            changes = {
                name: getattr(wanted, name)
                for name in names
                if getattr(wanted, name) != getattr(found, name)
            }
            return self._change(connection, home, found, changes)  # type: ignore[arg-type]  # its keys are those of Changes

        return self._write(work)

    def tag(self, run_id: str, tags: Mapping[str, str | None]) -> None:
        """Put tags over those of a run; a tag may be a word without a value."""
        self.absorb(Entry(run_id, tags=tags))

    def remove_tags(self, run_id: str, names: Iterable[str]) -> None:
        """Take tags away."""
        self.absorb(Entry(run_id, removed_tags=tuple(names)))

    def add_properties(self, run_id: str, properties: Mapping[str, str]) -> None:
        """Add properties, which never change: another value for a known one is refused."""
        self.absorb(Entry(run_id, properties=properties))

    # What runs log.

    def add_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Append metrics, in one transaction."""
        self.absorb(Entry(run_id, metrics=tuple(metrics)))

    def metrics(self, run_id: str, name: str | None = None) -> builtins.list[Metric]:
        """Metrics in the order they arrived."""
        return [metric for _, metric in self.metrics_after(run_id, 0, name)]

    def metrics_after(
        self, run_id: str, number: int, name: str | None = None
    ) -> builtins.list[tuple[int, Metric]]:
        """Metrics that came after the one of this number, with their own, for those who follow."""

        def work(connection: Connection, home: str) -> builtins.list[tuple[int, Metric]]:
            found = rows.list_metrics(connection, home, run_id, name, number)
            if not found:
                self._run(connection, home, run_id)
            return found

        return self._read(work)

    def add_files(self, run_id: str, files: Sequence[RunFile]) -> None:
        """Remember files of a run, over earlier ones of their names."""
        self.absorb(Entry(run_id, files=tuple(files)))

    def files(self, run_id: str) -> builtins.list[RunFile]:
        """The files of a run, by name."""

        def work(connection: Connection, home: str) -> builtins.list[RunFile]:
            self._run(connection, home, run_id)
            return rows.list_files(connection, home, run_id)

        return self._read(work)

    def absorb(self, *pieces: Entry) -> None:
        """Take in several things about runs, all or none."""

        def work(connection: Connection, home: str) -> None:
            for one in pieces:
                self._absorb(connection, home, one)

        self._write(work)

    def absorb_events(self, run_id: str, begin: int, end: int, pieces: Sequence[Entry]) -> int:
        """Take in what lies between two bytes of a run's events file, once, whoever tries.

        How far the file is in the registry now: `end`, or where somebody else has come to, and
        then nothing was taken in. What a script may not say is named in a warning and left out:
        it must not hold up what follows it.
        """

        def work(connection: Connection, home: str) -> int:
            found = self._run(connection, home, run_id)
            if found.events_offset != begin:
                return found.events_offset
            for one in pieces:
                self._absorb_told(connection, home, found, one)
            rows.change_run(connection, home, run_id, events_offset=end)
            return end

        return self._write(work)

    # Inside transactions.

    def _create(self, connection: Connection, home: str, record: RunRecord) -> RunRecord:
        if rows.find_run(connection, home, record.run_id):
            raise AlreadyRegistered(
                "run", record.run_id, f'workspace "{self.workspace}"', "choose another id"
            )
        experiment = _made(connection, home, record.experiment)
        number = experiment.runs + 1
        numbered = _timed(replace(record, number=number))
        # Runs below others only go on with what was begun before it was put away.
        archived = experiment.archived if record.parent else None
        rows.change_experiment(connection, home, record.experiment, runs=number, archived=archived)
        rows.insert_run(connection, home, numbered)
        return numbered

    def _removal(
        self, connection: Connection, home: str, name: ExperimentName
    ) -> ExperimentRemoval:
        self._experiment(connection, home, name)
        runs = rows.list_runs(connection, home, [schema.runs.c.experiment == str(name)], None)
        for run in runs:
            if not run.is_finished:
                raise RunRefused(
                    run.run_id, f"is {run.status}; end it with: datastores runs cancel {run.run_id}"
                )
        stored = rows.stored_files(connection, home, name)
        return ExperimentRemoval(
            str(name),
            tuple(str(run.run_id) for run in runs),
            sum(files for _, _, files, _ in stored),
            sum(size for _, _, _, size in stored),
            tuple(f"{datastore}:{folder_in_store(run_id)}" for run_id, datastore, _, _ in stored),
            tuple(run.folder for run in runs if run.folder and run.type != INTERACTIVE),
        )

    def _change(
        self, connection: Connection, home: str, found: RunRecord, changes: Changes
    ) -> RunRecord:
        wanted = replace(found, **changes)
        if not may_follow(found.status, wanted.status):
            raise RunRefused(
                found.run_id,
                f"is {found.status} and cannot become {wanted.status}; start another run",
            )
        changed = shown_record(_timed(wanted))
        if changed == found:
            return found
        rows.change_run(connection, home, found.run_id, **rows.run_values(changed))
        if changed.is_finished and not found.is_finished and changed.type != INTERACTIVE:
            self._end_below(connection, home, changed.run_id)
        return changed

    def _end_below(self, connection: Connection, home: str, run_id: RunId) -> None:
        """End what a script began below its run and never ended: its processes are gone."""
        waiting, seen = (
            [run_id],
            {run_id},
        )  # parents are what writers say, so they may go in a circle
        while waiting:
            below = [schema.runs.c.parent == waiting.pop(), schema.runs.c.type == INTERACTIVE]
            for child in rows.list_runs(connection, home, below, None):
                if not child.is_finished:
                    error = child.error or "the run above it ended first"
                    ended: Changes = {"status": Status.CANCELED, "error": error}
                    self._change(connection, home, child, ended)
                if child.run_id not in seen:
                    seen.add(child.run_id)
                    waiting.append(child.run_id)

    def _absorb(self, connection: Connection, home: str, piece: Entry) -> None:
        if piece.child is not None and not rows.find_run(connection, home, piece.run_id):
            self._create(connection, home, _parsed(shown_record(piece.child)))
        found = self._run(connection, home, piece.run_id)
        shown = [shown_metric(metric) for metric in piece.metrics]
        rows.insert_metrics(connection, home, found.run_id, shown)
        if piece.removed_tags:
            rows.remove_labels(connection, home, found.run_id, rows.TAG, piece.removed_tags)
        rows.set_labels(connection, home, found.run_id, rows.TAG, shown_labels(piece.tags))
        self._add_properties(connection, home, found, shown_labels(piece.properties))
        rows.put_files(connection, home, found.run_id, piece.files)
        if piece.changes:
            self._change(connection, home, found, piece.changes)

    def _absorb_told(
        self, connection: Connection, home: str, teller: RunRecord, piece: Entry
    ) -> None:
        """Take in what the script of a run says about it, or about a run below it."""
        known = rows.find_run(connection, home, piece.run_id)
        above = known or piece.child
        if above is None or not _is_below(connection, home, above, teller.run_id):
            log.warning(
                'run "%s" speaks of "%s", which is not below it', teller.run_id, piece.run_id
            )
            return
        run = known or self._create(connection, home, _parsed(shown_record(above)))
        changes: Changes = {**(piece.changes or {})}
        status = changes.pop("status", None)
        # The end of a submitted run is told by its agent; only runs below it end by a word.
        if status is not None and run.run_id != teller.run_id and may_follow(run.status, status):
            changes["status"] = status
        agreed = {
            name: value
            for name, value in piece.properties.items()
            if run.properties.get(name, value) == value
        }
        for name in piece.properties.keys() - agreed.keys():
            log.warning('property "%s" of run "%s" is set and stays', name, run.run_id)
        entry = replace(piece, child=None, changes=changes or None, properties=agreed)
        self._absorb(connection, home, entry)

    def _add_properties(
        self, connection: Connection, home: str, run: RunRecord, properties: Mapping[str, str]
    ) -> None:
        for name, value in properties.items():
            if run.properties.get(name, value) != value:
                raise RunRefused(
                    run.run_id,
                    f'has the property "{name}", which cannot change; use a tag, or another name',
                )
        rows.set_labels(connection, home, run.run_id, rows.PROPERTY, properties)

    def _run(self, connection: Connection, home: str, run_id: str) -> RunRecord:
        found = rows.find_run(connection, home, run_id)
        if found is None:
            newest = [str(one.run_id) for one in rows.list_runs(connection, home, (), 12)]
            raise NotRegistered("run", run_id, f'workspace "{self.workspace}"', newest)
        return found

    def _experiment(
        self, connection: Connection, home: str, name: ExperimentName
    ) -> ExperimentRecord:
        found = rows.find_experiment(connection, home, name)
        if found is None:
            known = [str(one.name) for one in rows.list_experiments(connection, home)]
            raise NotRegistered("experiment", name, f'workspace "{self.workspace}"', known)
        return found

    def _read(self, work: Callable[[Connection, str], T]) -> T:
        return self.registry.database.read(
            lambda connection: work(
                connection, self.registry.find_workspace(connection, self.workspace).id
            )
        )

    def _write(self, work: Callable[[Connection, str], T]) -> T:
        return self.registry.database.write(
            lambda connection: work(
                connection, self.registry.find_workspace(connection, self.workspace).id
            )
        )


def _made(connection: Connection, home: str, name: ExperimentName) -> ExperimentRecord:
    found = rows.find_experiment(connection, home, name)
    if found is None:
        found = ExperimentRecord(name, datetime.now(UTC))
        rows.insert_experiment(connection, home, found)
    return found


def _is_below(connection: Connection, home: str, run: RunRecord, above: RunId) -> bool:
    """Whether the run is this one, or has it among the first few of its ancestors."""
    one: RunRecord | None = run
    for _ in range(_DEEPEST):
        if one is None or one.run_id == above:
            return one is not None
        one = rows.find_run(connection, home, one.parent) if one.parent else None
    return False


def _parsed(record: RunRecord) -> RunRecord:
    return replace(
        record,
        run_id=RunId.parse(record.run_id),
        experiment=ExperimentName.parse(record.experiment),
    )


def _timed(record: RunRecord) -> RunRecord:
    """The record with the moments its state means."""
    now = datetime.now(UTC)
    if record.status is Status.STARTING:
        # Gone on with after an end.
        record = replace(record, ended=None)
    begins = record.status in (Status.RUNNING, Status.FINALIZING) and record.started is None
    ends = record.is_finished and record.ended is None
    return replace(
        record,
        started=now if begins else record.started,
        ended=now if ends else record.ended,
    )
