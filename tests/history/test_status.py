"""Which states of a run may follow which."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from datastores.history.status import FINISHED, Status, may_follow

STATES = st.sampled_from(list(Status))
COURSE = ["NotStarted", "Starting", "Provisioning", "Preparing", "Queued", "Running", "Finalizing"]


def test_the_words_are_azure_mls() -> None:
    """The states are spelled as scripts compare them."""
    ends = ["CancelRequested", "NotResponding", "Completed", "Failed", "Canceled"]
    assert [str(one) for one in Status] == COURSE + ends


@given(st.lists(STATES))
def test_a_run_takes_no_way_back(wishes: list[Status]) -> None:
    """
    However states are asked for, an end is followed by nothing but a resumption, which a completed
    run has none of; the others go forward wherever the run did not fall silent, and a cancellation
    that was asked for is followed by an end or by silence.
    """
    taken = [Status.NOT_STARTED]
    for wish in wishes:
        if wish != taken[-1] and may_follow(taken[-1], wish):
            taken.append(wish)

    assert Status.COMPLETED not in taken[:-1]
    for before, after in itertools.pairwise(taken):
        if before in FINISHED:
            assert after is Status.STARTING
        if before is Status.CANCEL_REQUESTED:
            assert after in FINISHED | {Status.NOT_RESPONDING}
        if before in COURSE and after in COURSE:
            assert COURSE.index(before) < COURSE.index(after)


@given(STATES, STATES)
def test_what_has_not_ended_can_end(before: Status, after: Status) -> None:
    """
    From each state that is no end every end can be reached, fallen silent, and asked to cancel;
    from an end itself, and its resumption if it was no success.
    """
    always = FINISHED | {Status.NOT_RESPONDING, Status.CANCEL_REQUESTED}
    if before in FINISHED:
        resumes = before is not Status.COMPLETED and after is Status.STARTING
        assert may_follow(before, after) == (before == after or resumes)
    elif after in always:
        assert may_follow(before, after)


@given(STATES)
def test_silence_is_broken_anywhere(after: Status) -> None:
    """A run that fell silent may be heard of in any state but the one before it began."""
    assert may_follow(Status.NOT_RESPONDING, after) == (after is not Status.NOT_STARTED)
