"""The hands of the lifecycle: carries out its commands, and tells it what came of them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from datastores.contract import JobSpec, OutputSpec, Script
from datastores.contract.job import Reference
from datastores.errors import DatastoresError
from mount.agent import lease_keep, process
from mount.agent.claims import Claims
from mount.agent.environment import command_line, environment
from mount.agent.journal import Journal
from mount.agent.leash import Abandoned
from mount.agent.loop import Loop
from mount.agent.manifest import unsealed
from mount.agent.milestones import note, tell
from mount.agent.opening import reason_of
from mount.agent.planning import History
from mount.agent.report import ReferenceReport, RunReport
from mount.agent.run_folder import RunFolder
from mount.agent.settings import Settings
from mount.agent.stage import SOURCE, Stage, how
from mount.agent.versions_read import VersionsRead
from mount.leases.table import LeaseTable
from mount.lifecycle import commands as do
from mount.lifecycle import events as on
from mount.lifecycle.advance import Step, advance
from mount.lifecycle.job import Job, Phase, exit_code_of, status_of
from mount.lifecycle.plan import Way

if TYPE_CHECKING:
    from datastores.contract.control_messages import NewLeases, ReferenceStatus, RunStatus
    from mount.agent.outputs import Output

log = logging.getLogger(__name__)


class Agent:
    """One agent at work on one run. Its main thread decides; other threads act and answer."""

    def __init__(
        self,
        spec: JobSpec,
        folder: RunFolder,
        journal: Journal,
        history: History,
        paths: Mapping[str, PurePosixPath],
        leases: LeaseTable,
        settings: Settings,
    ) -> None:
        self._spec = spec
        self._folder = folder
        self._journal = journal
        self._history = history
        self._paths = {name: Path(path) for name, path in paths.items()}
        self._leases = leases
        self._settings = settings
        self._loop: Loop[on.Event] = Loop()
        self._references: dict[str, Reference] = {one.name: one for one in spec.references}
        self._process: process.Process | None = None
        self._lock = threading.Lock()
        # Under the lock: who still owes an answer.
        self._owed: set[tuple[str, str | None]] = set()
        self._reports = {
            name: ReferenceReport(name, how(one), str(self._paths[name]))
            for name, one in self._references.items()
        }
        self._stage = Stage(
            spec, folder, journal, history.fetching, self._paths, self._reports, leases, settings
        )
        self._versions = VersionsRead(spec, folder)
        self._claims = Claims()
        self._outputs = {
            one.name: self._output(one, folder.transfers(index))
            for index, one in enumerate(spec.outputs)
        }
        self._phases: dict[str, float] = {}
        self._began_at = time.time()
        # Exchanged by the main thread after each event; others only look.
        self._job: Job | None = None

    def put(self, event: on.Event) -> None:
        """Tell it something from outside, from any thread or a signal handler."""
        self._loop.put(event)

    def status(self) -> RunStatus:
        """Where the run stands, from any thread."""
        from datastores.contract.control_messages import RunStatus

        job = self._job
        return RunStatus(
            self._spec.run_id,
            job.phase.value if job else Phase.STAGING.value,
            os.getpid(),
            self._began_at,
            job.ending.value if job and job.ending else None,
            job.exit_code if job else None,
            tuple(self._reference_status(name) for name in self._references),
        )

    def cancel(self) -> None:
        """End the run as SIGINT does, from any thread."""
        self._loop.put(on.CancelAsked())

    def renew(self, fresh: NewLeases) -> None:
        """Use these leases from now on, from any thread; what is open stays open."""
        self._leases.renew(fresh, lambda spec: lease_keep.keep(self._folder.root, spec))
        self._stage.renew(fresh.leases)
        log.info("new leases: %s", ", ".join(fresh.leases) or SOURCE)

    def work(self, first: Step) -> RunReport:
        """Everything from the first step to the end of the job."""
        began = time.monotonic()
        job, commands = first
        self._job = job
        note(self._journal, Job(job.plan, exit_code=self._history.past.exit_code), job)
        entered = began
        if self._history.past.was_started:
            self._versions.begin()
        while True:
            for command in commands:
                self._obey(command, job)
            if job.phase is Phase.ENDED:
                break
            event = self._loop.take()
            before = job
            job, commands = advance(job, event)
            self._job = job
            note(self._journal, before, job)
            tell(self._reports, before, job)
            if job.phase is not before.phase:
                now = time.monotonic()
                spent = self._phases.get(before.phase.value, 0.0) + now - entered
                self._phases[before.phase.value], entered = round(spent, 6), now
        self._stage.close()
        report = self._report(job, time.monotonic() - began)
        self._journal.note(
            "ended", status=report.status, code=report.exit_code, settled=report.is_settled
        )
        return report

    def _obey(self, command: do.Command, job: Job) -> None:  # noqa: C901, PLR0912  # one line each
        match command:
            case do.StageSource():
                self._in_thread("staging", None, self._stage.stage_source)
            case do.FetchInput(name=name):
                self._in_thread("staging", name, lambda: self._stage.fetch(name))
            case do.MountReference(name=name):
                self._in_thread("staging", name, lambda: self._stage.mount(name))
            case do.PrepareOutput(name=name):
                self._in_thread("staging", name, lambda: self._stage.prepare(name))
            case do.AbandonStaging():
                self._stage.leash.cut()
                self._loop.after(self._settings.abandon_seconds, self._give_up_staging)
            case do.StartProcess():
                refused = self._start()
                if refused is not None:
                    self._loop.put(refused)
            case do.SignalProcess(signal=number):
                if self._process is not None:
                    self._process.signal(number)
            case do.SetDeadline(deadline=deadline, seconds=seconds):
                self._loop.after(seconds, lambda: on.DeadlinePassed(deadline))
            case do.WatchOutput(name=name):
                self._outputs[name].watch()
            case do.UploadOutput(name=name):
                self._owe("upload", name)
                self._outputs[name].finish()
            case do.AbandonUploads():
                for output in self._outputs.values():
                    output.abandon()
                self._stage.leash.cut()
                self._loop.after(self._settings.abandon_seconds, self._give_up_uploads)
            case do.ReleaseMount(name=name):
                self._in_thread("release", name, lambda: self._release(name))
            case do.WriteManifest(name=name):
                self._in_thread("seal", name, lambda: self._seal(name, job))
            case do.Report():
                pass

    def _in_thread(self, what: str, name: str | None, act: Callable[[], on.Event]) -> None:
        self._owe(what, name)

        def answer() -> None:
            try:
                event = act()
            except Exception as error:
                log.exception('"%s" met a defect', name or SOURCE)
                event = self._defect(what, name, error)
            self._answer(what, name, event)

        threading.Thread(target=answer, name=f"datastores-{what}", daemon=True).start()

    def _owe(self, what: str, name: str | None) -> None:
        with self._lock:
            self._owed.add((what, name))

    def _answer(self, what: str, name: str | None, event: on.Event) -> None:
        """Pass on an answer, unless it was given up and somebody else has answered."""
        with self._lock:
            is_owed = (what, name) in self._owed
            self._owed.discard((what, name))
        if is_owed:
            self._loop.put(event)

    def _give_up_staging(self) -> None:
        for what, name in self._still_owed("staging"):
            self._answer(what, name, self._stage.failed(name, Abandoned()))

    def _give_up_uploads(self) -> None:
        for what, name in self._still_owed("upload"):
            assert name is not None
            reason = self._outputs[name].out_of_time()
            self._answer(what, name, on.OutputNotUploaded(name, reason))
        for what, name in self._still_owed("seal"):
            assert name is not None
            self._answer(what, name, on.ManifestNotWritten(name, unsealed(name, "time ran out")))

    def _defect(self, what: str, name: str | None, error: Exception) -> on.Event:
        if what == "staging" or name is None:
            return self._stage.failed(name, error)
        text = f"{type(error).__name__}: {reason_of(error)}"
        if what == "release":
            return on.MountNotReleased(name, text)
        return on.ManifestNotWritten(name, unsealed(name, text))

    def _still_owed(self, wanted: str) -> list[tuple[str, str | None]]:
        with self._lock:
            return [one for one in self._owed if one[0] == wanted]

    def _start(self) -> on.ProcessRefused | None:
        spec, folder = self._spec, self._folder
        paths = {name: PurePosixPath(path) for name, path in self._paths.items()}
        if isinstance(spec.work, Script) and not (folder.work / spec.work.path).is_file():
            reason = (
                f'the entry script "{spec.work.path}" is not among the source files; check its name'
            )
            return on.ProcessRefused(reason)
        arguments = command_line(spec, paths)
        logged = os.open(
            folder.script_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        # Before the start: a script that may have run is never run again.
        self._journal.note("started", pid=None)
        try:
            self._process = process.start(
                arguments,
                environment(spec, paths, os.environ),
                folder.work,
                (self._settings.stdout, self._settings.stderr),
                logged,
            )
        except OSError as error:
            os.close(logged)
            self._journal.note("not started")
            reason = f'"{arguments[0]}" cannot be started: {error.strerror}; check the program and its permissions'
            return on.ProcessRefused(reason)
        who = self._process.identity
        self._journal.note("started", pid=who.pid, ticks=who.started_ticks, boot=who.boot)
        waiting = self._process
        # Before the thread that may tell of its exit.
        self._loop.put(on.ProcessStarted())
        self._versions.begin()

        def wait() -> None:
            code = waiting.wait()
            os.close(logged)
            self._loop.put(on.ProcessExited(code))

        threading.Thread(target=wait, name="datastores-script", daemon=True).start()
        return None

    def _release(self, name: str) -> on.Event:
        if name not in self._stage.mounts and (failed := self._take_over(name)) is not None:
            return failed
        mounted, report = self._stage.mounts.get(name), self._reports[name]
        if mounted is None:
            return on.MountReleased(name)
        self._versions.keep(name, mounted, self._settings.list_seconds)
        report.counters = dict(mounted.counters())
        # Asked before the release: it ends the mount, whoever serves it.
        report.reason = mounted.trouble() or report.reason
        try:
            mounted.release(self._settings.release_seconds)
        except DatastoresError as error:
            return on.MountNotReleased(name, reason_of(error))
        return on.MountReleased(name)

    def _take_over(self, name: str) -> on.Event | None:
        """A mount whose agent was killed: cleared, and mounted again if something may be unsent.

        None, or why that could not be done.
        """
        if not isinstance(self._references[name], OutputSpec):
            from mount.fuse.device import repair

            repair(str(self._paths[name]))
            return None
        match self._stage.mount(name):
            case on.ReferenceFailed(reason=reason) | on.MountUnavailable(reason=reason):
                return on.MountNotReleased(name, reason)
        return None

    def _seal(self, name: str, job: Job) -> on.Event:
        one = self._references[name]
        if not self._is_mounted(name, job):
            return self._outputs[name].seal()
        assert isinstance(one, OutputSpec)
        from mount.agent.mounted_result import seal_mounted

        return seal_mounted(
            self._spec, one, self._leases[name], self._stage.leash, self._settings.patience
        )

    def _reference_status(self, name: str) -> ReferenceStatus:
        from datastores.contract.control_messages import ReferenceStatus

        report, lease = self._reports[name], self._leases[name].spec
        return ReferenceStatus(
            name,
            report.how,
            report.state,
            report.path,
            report.files,
            report.bytes,
            lease.expires_at if lease is not None else None,
        )

    def _is_mounted(self, name: str, job: Job) -> bool:
        ways = {one.name: one.way for one in job.plan.outputs}
        return ways[name] is Way.MOUNT and name not in job.fallen_back

    def _output(self, spec: OutputSpec, records: Path) -> Output:
        # What sends files is loaded only where there are any to send.
        from mount.agent.outputs import Output

        return Output(
            spec,
            self._leases[spec.name],
            self._spec,
            self._paths[spec.name],
            records=records,
            journal=self._journal,
            claims=self._claims,
            sent=self._history.sent.get(spec.name, {}),
            patience=self._settings.patience,
            quiet_seconds=self._settings.quiet_seconds,
            answer=lambda event: self._answer("upload", spec.name, event),
        )

    def _report(self, job: Job, seconds: float) -> RunReport:
        for name, output in self._outputs.items():
            if not self._is_mounted(name, job):
                self._reports[name].files = output.files
                self._reports[name].bytes = output.total_bytes
            if self._reports[name].state in ("ready", "waiting"):
                self._reports[name].state = "not kept"
        versions = self._versions.settle(self._settings.list_seconds)
        for name, each in self._reports.items():
            each.summarise()
            each.versions = versions.get(name, {})
        troubles, warnings = job.troubles, job.warnings
        outputs = set(self._outputs)
        return RunReport(
            self._spec.run_id,
            status_of(job),
            exit_code_of(job),
            job.ending.value if job.ending else None,
            self._began_at,
            round(seconds, 6),
            dict(self._phases),
            [report for name, report in self._reports.items() if name not in outputs],
            [report for name, report in self._reports.items() if name in outputs],
            [one.reason for one in troubles],
            [one.reason for one in warnings],
            is_settled=job.exit_code is not None and not troubles,
        )
