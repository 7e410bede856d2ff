"""The decisions: what an event means for a job, and what is to be done about it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from datastores.value import Value
from mount.errors import IllegalEvent
from mount.lifecycle import commands as do
from mount.lifecycle import events as on
from mount.lifecycle.events import Deadline
from mount.lifecycle.job import Ending, Job, Phase, Trouble
from mount.lifecycle.plan import Plan, PlannedInput, PlannedOutput, Way

Step: TypeAlias = tuple[Job, list[do.Command]]

# After SIGKILL a process is gone at once, unless the kernel itself is stuck in its name.
KILL_SECONDS = 10.0
_KILLED = 128 + signal.SIGKILL


class Past(Value):
    """What an earlier agent, which is dead, achieved for the same job."""

    has_source: bool = False
    ready: frozenset[str] = frozenset()
    fallen_back: frozenset[str] = frozenset()
    was_started: bool = False
    exit_code: int | None = None
    ending: Ending | None = None
    sealed: frozenset[str] = frozenset()


def begin(plan: Plan, past: Past | None = None) -> Step:
    """A job's first step, or the first after a restart.

    A script that was started is never started again; what it left on the disk is kept, and mounts
    that its agent left are released.
    """
    past = past or Past()
    job = Job(plan, ready=past.ready, fallen_back=past.fallen_back, sealed=past.sealed)
    if past.was_started:
        code = past.exit_code
        ending = past.ending
        if code is None:
            code, ending = _KILLED, ending or Ending.INTERRUPTED
        left = frozenset(
            one.name
            for one in plan.references
            if one.name in past.ready - past.sealed and _mounts(job, one.name)
        )
        return _flush(replace(job, exit_code=code, ending=ending, mounted=left))
    if plan.has_source and not past.has_source:
        return replace(job, pending=frozenset([None])), [do.StageSource()]
    return _stage(job)


def advance(job: Job, event: on.Event) -> Step:
    """Decide what an event means. Does nothing itself."""
    match event:
        case on.CancelAsked(signal=number):
            return _ask(job, Ending.CANCELED, number)
        case on.TerminateNotice(signal=number):
            return _ask(job, Ending.TERMINATED, number)
        case on.DeadlinePassed(deadline=deadline):
            return _ring(job, deadline)
    return _PHASES[job.phase](job, event)


def _ask(job: Job, ending: Ending, number: int) -> Step:
    """Somebody wants it to end; how depends on how far it has come."""
    was_hurried, job = job.is_hurried, replace(job, is_hurried=True)
    match job.phase:
        case Phase.STAGING:
            return _give_up_staging(replace(job, ending=job.ending or ending))
        case Phase.RUNNING:
            again = job.ending is not None and was_hurried
            if not job.is_process_alive and job.told_signal is None:
                job = replace(job, told_signal=number)
            return _stop_process(replace(job, ending=job.ending or ending), number, again=again)
        case Phase.ENDED:
            return job, []
    # The script has ended by itself. A notice only presses for time; a cancellation is an answer
    # to the question how the run ended.
    if ending is Ending.CANCELED:
        job = replace(job, ending=job.ending or ending)
    bound = [do.SetDeadline(Deadline.FLUSH, job.plan.flush_seconds)]
    return job, [] if was_hurried else [*bound]


def _ring(job: Job, deadline: Deadline) -> Step:
    match deadline, job.phase:
        case Deadline.RUN, Phase.RUNNING if job.ending is None:
            return _stop_process(replace(job, ending=Ending.TIMED_OUT), signal.SIGTERM)
        case Deadline.GRACE, Phase.RUNNING if job.is_process_alive:
            return job, _kill()
        case Deadline.KILL, Phase.RUNNING if job.is_process_alive:
            reason = "the script does not end although it was killed; the kernel holds it, restart the machine"
            return _flush(_troubled(replace(job, exit_code=_KILLED), None, reason, 1))
        case Deadline.FLUSH, Phase.FLUSHING | Phase.SEALING if not job.is_abandoned:
            return replace(job, is_abandoned=True), [do.AbandonUploads()]
    return job, []


def _staging(job: Job, event: on.Event) -> Step:
    match event:
        case on.SourceReady() if None in job.pending:
            job = replace(job, pending=frozenset())
            return _release(job) if job.ending else _stage(job)
        case on.SourceFailed(reason=reason, exit_code=code) if None in job.pending:
            job = _failed(replace(job, pending=frozenset()), None, reason, code)
            return _release(job)
        case on.ReferenceReady(name=name) if name in job.pending:
            if _mounts(job, name):
                job = replace(job, mounted=job.mounted | {name})
            return _staged(replace(job, ready=job.ready | {name}), name)
        case on.ReferenceFailed(name=name, reason=reason, exit_code=code) if name in job.pending:
            was_calm = job.ending is None
            job = _failed(job, name, reason, code) if was_calm else job
            job, commands = _staged(job, name)
            if was_calm and job.phase is Phase.STAGING:
                job, more = _give_up_staging(job)
                commands += more
            return job, commands
        case on.MountUnavailable(name=name, reason=reason) if name in job.pending:
            return _fall_back(job, name, reason)
    raise _illegal(job, event)


def _running(job: Job, event: on.Event) -> Step:
    match event:
        case on.ProcessStarted() if not job.is_process_alive:
            return _started(replace(job, is_process_alive=True))
        case on.ProcessRefused(reason=reason, exit_code=code) if not job.is_process_alive:
            return _release(_failed(job, None, reason, code))
        case on.ProcessExited(code=code) if job.is_process_alive:
            return _flush(replace(job, exit_code=code, is_process_alive=False))
    raise _illegal(job, event)


def _flushing(job: Job, event: on.Event) -> Step:
    match event:
        case on.OutputUploaded(name=name) if name in job.pending:
            job = replace(job, uploaded=job.uploaded | {name})
            return _next(job, name, _release)
        case on.OutputMissing(name=name, reason=reason) if name in job.pending:
            # A script that failed has often not come so far; that is no second failure.
            note = _troubled if job.has_succeeded else _warned
            return _next(note(job, name, reason, 23), name, _release)
        case on.OutputNotUploaded(name=name, reason=reason, exit_code=code) if name in job.pending:
            return _next(_troubled(job, name, reason, code), name, _release)
    return _ignore_late_exit(job, event)


def _releasing(job: Job, event: on.Event) -> Step:
    match event:
        case on.MountReleased(name=name) if name in job.pending:
            if any(output.name == name for output in job.plan.outputs):
                job = replace(job, uploaded=job.uploaded | {name})
            job = replace(job, mounted=job.mounted - {name})
            return _next(job, name, _seal)
        case on.MountNotReleased(name=name, reason=reason) if name in job.pending:
            is_output = any(output.name == name for output in job.plan.outputs)
            noted = (
                _troubled(job, name, reason, 23) if is_output else _warned(job, name, reason, 20)
            )
            job = replace(noted, mounted=job.mounted - {name})
            return _next(job, name, _seal)
    return _ignore_late_exit(job, event)


def _sealing(job: Job, event: on.Event) -> Step:
    match event:
        case on.ManifestWritten(name=name) if name in job.pending:
            return _next(replace(job, sealed=job.sealed | {name}), name, _end)
        case on.ManifestNotWritten(name=name, reason=reason) if name in job.pending:
            return _next(_troubled(job, name, reason, 23), name, _end)
    return _ignore_late_exit(job, event)


def _ignore_late_exit(job: Job, event: on.Event) -> Step:
    """A process that was given up as unkillable may still end."""
    if isinstance(event, on.ProcessExited) and job.is_process_alive:
        return replace(job, is_process_alive=False), []
    raise _illegal(job, event)


_PHASES: dict[Phase, Callable[[Job, on.Event], Step]] = {
    Phase.STAGING: _staging,
    Phase.RUNNING: _running,
    Phase.FLUSHING: _flushing,
    Phase.RELEASING: _releasing,
    Phase.SEALING: _sealing,
    Phase.ENDED: _ignore_late_exit,
}


def _stage(job: Job) -> Step:
    # A mount ends with the agent that made it; a copy and a folder stay.
    missing = [
        one for one in job.plan.references if one.name not in job.ready or _mounts(job, one.name)
    ]
    if not missing:
        return _start(job)
    job = replace(job, pending=frozenset(one.name for one in missing))
    return job, [_staging_command(job, one) for one in missing]


def _staging_command(job: Job, one: PlannedInput | PlannedOutput) -> do.Command:
    if _mounts(job, one.name):
        return do.MountReference(one.name)
    return do.FetchInput(one.name) if isinstance(one, PlannedInput) else do.PrepareOutput(one.name)


def _fall_back(job: Job, name: str, reason: str) -> Step:
    job = replace(job, fallen_back=job.fallen_back | {name})
    job = _warned(job, name, reason, 25)
    if job.ending is not None:
        return _staged(job, name)
    return job, [_staging_command(job, one) for one in job.plan.references if one.name == name]


def _mounts(job: Job, name: str) -> bool:
    return name not in job.fallen_back and any(
        one.name == name and one.way is Way.MOUNT for one in job.plan.references
    )


def _staged(job: Job, name: str) -> Step:
    return _next(job, name, _release if job.ending else _start)


def _give_up_staging(job: Job) -> Step:
    if job.is_abandoned:
        return job, []
    return replace(job, is_abandoned=True), [do.AbandonStaging()]


def _start(job: Job) -> Step:
    return replace(job, phase=Phase.RUNNING), [do.StartProcess()]


def _started(job: Job) -> Step:
    if job.ending is not None:
        return _stop_process(job, job.told_signal or signal.SIGTERM)
    commands: list[do.Command] = [
        do.WatchOutput(one.name)
        for one in job.plan.outputs
        # Whether the others are kept is not known before the end.
        if one.always and not _mounts(job, one.name)
    ]
    if job.plan.run_seconds is not None:
        commands.append(do.SetDeadline(Deadline.RUN, job.plan.run_seconds))
    return job, commands


def _stop_process(job: Job, number: int, *, again: bool = False) -> Step:
    if not job.is_process_alive:
        return job, []
    if again:
        return job, _kill()
    grace = job.plan.grace_seconds
    return job, [do.SignalProcess(number), do.SetDeadline(Deadline.GRACE, grace)]


def _kill() -> list[do.Command]:
    return [do.SignalProcess(signal.SIGKILL), do.SetDeadline(Deadline.KILL, KILL_SECONDS)]


def _flush(job: Job) -> Step:
    wanted = [
        one.name
        for one in job.plan.outputs
        if (one.always or job.has_succeeded)
        and not _mounts(job, one.name)
        and one.name not in job.sealed
    ]
    job = replace(job, phase=Phase.FLUSHING, pending=frozenset(wanted), is_abandoned=False)
    commands: list[do.Command] = [do.UploadOutput(name) for name in wanted]
    if job.is_hurried:
        commands.append(do.SetDeadline(Deadline.FLUSH, job.plan.flush_seconds))
    if wanted:
        return job, commands
    job, more = _release(job)
    return job, [*commands, *more]


def _release(job: Job) -> Step:
    job = replace(job, phase=Phase.RELEASING, pending=frozenset(job.mounted))
    if not job.mounted:
        return _seal(job)
    return job, [do.ReleaseMount(name) for name in sorted(job.mounted)]


def _seal(job: Job) -> Step:
    """Say of each output that it is complete, when it is: of a half-done one nobody says so."""
    complete = [
        one.name
        for one in job.plan.outputs
        if job.has_succeeded and one.name in job.uploaded and one.name not in job.sealed
    ]
    if not complete or job.is_abandoned:
        return _end(job)
    job = replace(job, phase=Phase.SEALING, pending=frozenset(complete))
    return job, [do.WriteManifest(name) for name in complete]


def _end(job: Job) -> Step:
    return replace(job, phase=Phase.ENDED, pending=frozenset()), [do.Report()]


def _next(job: Job, name: str, then: Callable[[Job], Step]) -> Step:
    """One thing less to wait for; after the last, what comes then."""
    job = replace(job, pending=job.pending - {name})
    return (job, []) if job.pending else then(job)


def _failed(job: Job, name: str | None, reason: str, code: int) -> Job:
    return replace(_troubled(job, name, reason, code), ending=job.ending or Ending.FAILED)


def _troubled(job: Job, name: str | None, reason: str, code: int) -> Job:
    return replace(job, troubles=(*job.troubles, Trouble(name, reason, code)))


def _warned(job: Job, name: str | None, reason: str, code: int) -> Job:
    return replace(job, warnings=(*job.warnings, Trouble(name, reason, code)))


def _illegal(job: Job, event: Any) -> IllegalEvent:
    return IllegalEvent(
        f'"{type(event).__name__}" in phase "{job.phase.value}" has no answer; '
        f"this is a defect, report it with the run's journal"
    )
