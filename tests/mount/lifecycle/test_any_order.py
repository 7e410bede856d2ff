"""Whatever happens to a job, in whatever order, it keeps its promises."""

from __future__ import annotations

import signal
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from mount.lifecycle import commands as do
from mount.lifecycle import events as on
from mount.lifecycle.advance import Past
from mount.lifecycle.events import Deadline
from mount.lifecycle.job import Ending, Job, Phase, exit_code_of, status_of
from mount.lifecycle.plan import Plan, PlannedInput, PlannedOutput, Way
from tests.mount.lifecycle.world import World

ways = st.sampled_from(Way)
plans = st.builds(
    lambda inputs, outputs, source, run: Plan(
        tuple(PlannedInput(f"in{index}", way) for index, way in enumerate(inputs)),
        tuple(
            PlannedOutput(f"out{index}", way, always=always)
            for index, (way, always) in enumerate(outputs)
        ),
        source,
        run,
    ),
    st.lists(ways, max_size=3),
    st.lists(st.tuples(ways, st.booleans()), max_size=3),
    st.booleans(),
    st.none() | st.just(60.0),
)


@st.composite
def worlds(draw: st.DrawFn, fewest: int = 0, most: int = 3) -> World:
    asks = draw(st.integers(fewest, most))
    return World(draw(plans), lambda count: draw(st.integers(0, count - 1)), asks_left=asks)


@given(worlds())
@settings(max_examples=100, deadline=None)
def test_every_job_ends_and_reports_once(world: World) -> None:
    """A job comes to its end whatever happens, and its report is the last thing it asks for."""
    job = world.live()

    assert job.phase is Phase.ENDED
    assert world.asked[-1] == do.Report()
    assert world.commands(do.Report) == [do.Report()]


@given(worlds())
@settings(max_examples=100, deadline=None)
def test_every_mount_is_released_once(world: World) -> None:
    """Each mount that was made is released, exactly once, on every path."""
    world.live()

    asked = [one.name for one in world.commands(do.MountReference)]  # type: ignore[union-attr]  # of that kind
    made = [
        event.name
        for event in world.events(on.ReferenceReady)
        if isinstance(event, on.ReferenceReady)
        and event.name in asked
        and not any(
            isinstance(other, on.MountUnavailable) and other.name == event.name
            for _, other in world.told
        )
    ]
    released = [one.name for one in world.commands(do.ReleaseMount)]  # type: ignore[union-attr]  # likewise
    assert sorted(released) == sorted(made)


@given(worlds())
@settings(max_examples=100, deadline=None)
def test_nothing_is_uploaded_twice(world: World) -> None:
    """Each output is asked to be uploaded at most once, and a mounted one never."""
    job = world.live()

    uploads = [one.name for one in world.commands(do.UploadOutput)]  # type: ignore[union-attr]  # of that kind
    mounted = {
        one.name
        for one in world.plan.outputs
        if one.way is Way.MOUNT and one.name not in job.fallen_back
    }
    assert len(uploads) == len(set(uploads))
    assert not mounted & set(uploads)


@given(worlds())
@settings(max_examples=100, deadline=None)
def test_a_kept_output_is_uploaded_whenever_the_script_ran(world: World) -> None:
    """After a script that ran, outputs kept always are uploaded, the others after success only."""
    job = world.live()

    if job.exit_code is None:
        wanted = set()
    else:
        flushed = next(
            one
            for one in world.jobs
            if one.phase is not Phase.STAGING and one.exit_code is not None
        )
        wanted = {
            one.name
            for one in world.plan.outputs
            if (one.always or flushed.has_succeeded)
            and (one.way is Way.COPY or one.name in job.fallen_back)
        }
    assert {one.name for one in world.commands(do.UploadOutput)} == wanted  # type: ignore[union-attr]  # of that kind


@given(worlds())
@settings(max_examples=100, deadline=None)
def test_only_complete_results_of_good_runs_are_sealed(world: World) -> None:
    """A manifest follows a complete upload or release after exit code 0, and nothing else."""
    job = world.live()

    sealed = {one.name for one in world.commands(do.WriteManifest)}  # type: ignore[union-attr]  # of that kind
    arrived = {
        event.name
        for _, event in world.told
        if isinstance(event, on.OutputUploaded | on.MountReleased)
    }
    assert sealed <= arrived & {one.name for one in world.plan.outputs}
    assert not sealed or job.exit_code == 0


@given(worlds(fewest=1))
@settings(max_examples=150, deadline=None)
def test_a_cancellation_is_honoured_in_each_phase(world: World) -> None:
    """Before the script nothing starts any more, during it it is told, after it time is bounded."""
    job = world.live()

    for index, (phase, event) in enumerate(world.told):
        if not isinstance(event, on.CancelAsked):
            continue
        later = [one for _, one in world.told[index:]]
        match phase:
            case Phase.STAGING:
                assert not any(isinstance(one, on.ProcessStarted) for one in later)
                assert do.AbandonStaging() in world.asked
            case Phase.RUNNING if any(isinstance(one, on.ProcessExited) for one in later):
                assert world.commands(do.SignalProcess)
            case Phase.FLUSHING | Phase.RELEASING | Phase.SEALING if job.exit_code is not None:
                assert Deadline.FLUSH in [one.deadline for one in world.commands(do.SetDeadline)]  # type: ignore[union-attr]  # of that kind
        assert exit_code_of(job) != 0


@given(worlds())
@settings(max_examples=100, deadline=None)
def test_the_exit_code_is_right(world: World) -> None:
    """The script's own failure is passed on; without one, what befell the job decides; 0 is clean."""
    job = world.live()

    code = exit_code_of(job)
    if job.exit_code:
        assert code == job.exit_code
    else:
        assert (code == 0) == (job.exit_code == 0 and not job.troubles and job.ending is None)
    assert (status_of(job) == "Completed") == (code == 0)


@given(worlds(most=0), st.data())
@settings(max_examples=100, deadline=None)
def test_a_script_that_was_started_never_starts_again(world: World, data: st.DataObject) -> None:
    """After a restart at any moment the script starts only if it had not, and results are kept."""
    world.live()
    crashed = data.draw(st.sampled_from(world.jobs))

    again = replace(
        world, past=_past_of(crashed), owed=[], deadlines=[], asked=[], told=[], jobs=[]
    )
    job = again.live()

    was_started = crashed.exit_code is not None or crashed.is_process_alive
    if was_started:
        assert not again.commands(do.StartProcess)
        kept = {
            one.name
            for one in world.plan.outputs
            if one.always and (one.way is Way.COPY or one.name in crashed.fallen_back)
        }
        uploads = {one.name for one in again.commands(do.UploadOutput)}  # type: ignore[union-attr]  # of that kind
        assert uploads >= kept - crashed.sealed
        assert not uploads & crashed.sealed
    fetched = {one.name for one in again.commands(do.FetchInput)}  # type: ignore[union-attr]  # likewise
    # A mount ended with its agent, and may be refused this time.
    mounts = {one.name for one in world.plan.inputs if one.way is Way.MOUNT} - crashed.fallen_back
    assert not fetched & (crashed.ready - mounts)
    assert job.phase is Phase.ENDED


def _past_of(job: Job) -> Past:
    """What a journal says after a crash in this moment."""
    return Past(
        has_source=job.plan.has_source and None not in job.pending,
        ready=job.ready,
        fallen_back=job.fallen_back,
        was_started=job.exit_code is not None or job.is_process_alive,
        exit_code=job.exit_code,
        ending=job.ending,
        sealed=job.sealed,
    )


def test_an_interrupted_script_counts_as_killed() -> None:
    """A script whose agent was killed has exit code 137 and no manifest."""
    plan = Plan(outputs=(PlannedOutput("model"),))
    world = World(plan, lambda _: 0, Past(was_started=True), asks_left=0)

    job = world.live()

    assert (job.exit_code, job.ending, exit_code_of(job)) == (137, Ending.INTERRUPTED, 137)
    assert world.asked == [do.UploadOutput("model"), do.Report()]


def test_a_script_that_ignores_its_notice_is_killed() -> None:
    """After the notice comes the grace, after the grace SIGKILL."""
    from mount.lifecycle.advance import KILL_SECONDS, advance, begin

    job, _ = begin(Plan(grace_seconds=5.0))
    job, _ = advance(job, on.ProcessStarted())
    job, first = advance(job, on.TerminateNotice())
    job, second = advance(job, on.DeadlinePassed(Deadline.GRACE))

    assert first == [do.SignalProcess(signal.SIGTERM), do.SetDeadline(Deadline.GRACE, 5.0)]
    assert second == [
        do.SignalProcess(signal.SIGKILL),
        do.SetDeadline(Deadline.KILL, KILL_SECONDS),
    ]


@given(worlds(most=0), st.data())
@settings(max_examples=100, deadline=None)
def test_mounts_of_a_killed_agent_are_released(world: World, data: st.DataObject) -> None:
    """After a restart behind the script's start each mount that was ready is released once."""
    world.live()
    crashed = data.draw(st.sampled_from(world.jobs))
    past = _past_of(crashed)

    again = replace(world, past=past, owed=[], deadlines=[], asked=[], told=[], jobs=[])
    again.live()

    if past.was_started:
        ways = {one.name: one.way for one in world.plan.references}
        left = sorted(
            name for name in past.ready - past.fallen_back - past.sealed if ways[name] is Way.MOUNT
        )
        assert [one.name for one in again.commands(do.ReleaseMount)] == left  # type: ignore[union-attr]  # of that kind
        assert not again.commands(do.MountReference)
