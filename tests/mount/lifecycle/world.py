"""A world in which a job lives: it answers commands in any order, and remembers everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mount.lifecycle import commands as do
from mount.lifecycle import events as on
from mount.lifecycle.advance import Past, advance, begin
from mount.lifecycle.events import Deadline
from mount.lifecycle.job import Job, Phase
from mount.lifecycle.plan import Plan

# Picks one of so many possibilities.
Choose = Callable[[int], int]


@dataclass(slots=True)
class World:
    """What is owed to the job, and what has been asked and told so far."""

    plan: Plan
    choose: Choose
    past: Past | None = None
    asks_left: int = 3
    owed: list[Sequence[on.Event]] = field(default_factory=list)
    deadlines: list[Deadline] = field(default_factory=list)
    asked: list[do.Command] = field(default_factory=list)
    told: list[tuple[Phase, on.Event]] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)

    def live(self) -> Job:
        """The job at its end; fails when it does not come to one."""
        job, commands = begin(self.plan, self.past)
        self._hear(job, commands)
        for _ in range(500):
            if job.phase is Phase.ENDED:
                return job
            event = self._next()
            self.told.append((job.phase, event))
            job, commands = advance(job, event)
            self._hear(job, commands)
        raise AssertionError(f"the job does not end: {job}")

    def commands(self, kind: type) -> list[do.Command]:
        return [one for one in self.asked if isinstance(one, kind)]

    def events(self, kind: type) -> list[on.Event]:
        return [event for _, event in self.told if isinstance(event, kind)]

    def _hear(self, job: Job, commands: list[do.Command]) -> None:
        self.jobs.append(job)
        for command in commands:
            self.asked.append(command)
            if isinstance(command, do.SetDeadline):
                self.deadlines.append(command.deadline)
            elif answers := _answers(command):
                self.owed.append(answers)

    def _next(self) -> on.Event:
        """Somebody asks, a deadline passes, or an answer arrives, as chance will have it."""
        asks: list[on.Event] = [on.CancelAsked(), on.TerminateNotice()]
        asks = asks if self.asks_left else []
        most = len(self.owed) * 3 + len(self.deadlines) + len(asks)
        assert most, "the job waits for nothing"
        chosen = self.choose(most)
        if chosen < len(asks):
            self.asks_left -= 1
            return asks[chosen]
        chosen -= len(asks)
        if chosen < len(self.deadlines):
            return on.DeadlinePassed(self.deadlines.pop(chosen))
        answers = self.owed.pop((chosen - len(self.deadlines)) // 3)
        event = answers[self.choose(len(answers))]
        if isinstance(event, on.ProcessStarted):
            self.owed.append([on.ProcessExited(0), on.ProcessExited(3), on.ProcessExited(143)])
        return event


def _answers(command: do.Command) -> Sequence[on.Event]:  # noqa: PLR0911  # one for each command
    match command:
        case do.StageSource():
            return [on.SourceReady(), on.SourceReady(), on.SourceFailed("no source")]
        case do.FetchInput(name=name) | do.PrepareOutput(name=name):
            ready = on.ReferenceReady(name)
            return [ready, ready, ready, on.ReferenceFailed(name, "no " + name)]
        case do.MountReference(name=name):
            ready, failed = on.ReferenceReady(name), on.ReferenceFailed(name, "no " + name)
            return [ready, ready, on.MountUnavailable(name, "no device"), failed]
        case do.StartProcess():
            begun = on.ProcessStarted()
            return [begun, begun, begun, begun, on.ProcessRefused("no program")]
        case do.UploadOutput(name=name):
            sent = on.OutputUploaded(name)
            missing, unsent = on.OutputMissing(name, "gone"), on.OutputNotUploaded(name, "down")
            return [sent, sent, sent, missing, unsent]
        case do.ReleaseMount(name=name):
            gone = on.MountReleased(name)
            return [gone, gone, gone, on.MountNotReleased(name, "busy")]
        case do.WriteManifest(name=name):
            written = on.ManifestWritten(name)
            return [written, written, written, on.ManifestNotWritten(name, "down")]
    return []
