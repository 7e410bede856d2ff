"""Messages of the control: complete, strict, bounded, and silent about secrets."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from datastores.contract import LeaseSpec
from datastores.contract.control import cancel, send_leases, status
from datastores.contract.control_messages import (
    Answer,
    AskStatus,
    CancelRun,
    NewLeases,
    ReferenceStatus,
    Request,
    RunStatus,
    answer_line,
    answer_of,
    request_line,
    request_of,
)
from datastores.contract.control_socket import MOST_BYTES, read_line, socket_path
from datastores.credentials.kinds import Login, Sas
from datastores.errors import Unavailable, WireError
from datastores.secret import Secret

CANARY = "canary-9d1e"
SAS = LeaseSpec(Sas(Secret(CANARY)), 1700000000.5, 1699990000.0)
STATUS = RunStatus(
    "cats_1",
    "running",
    41,
    1700000000.0,
    references=(
        ReferenceStatus("train", "mount", "ready", "/w/train", 3, 9, 1700000000.5),
        ReferenceStatus("é", "upload", "waiting", "/w/é"),
    ),
)


@pytest.mark.parametrize(
    "request_",
    [
        NewLeases({"train": SAS, "orders": LeaseSpec(Login("reader", Secret(CANARY)))}, SAS),
        NewLeases(),
        CancelRun(),
        AskStatus(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_requests_survive_their_line(request_: Request) -> None:
    """Whatever may be asked is one line, and reads back equal."""
    line = request_line(request_)

    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert request_of(line) == request_


@pytest.mark.parametrize("answer", [Answer(STATUS), Answer(None, 'no reference "x"\n'), Answer()])
def test_answers_survive_their_line(answer: Answer) -> None:
    """Whatever may be answered is one line, and reads back equal."""
    line = answer_line(answer)

    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert answer_of(line) == answer


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 2}, 'the request has version "2" and this side reads version 1'),
        ({"kind": "kill"}, '"kind" of the request is none of "leases", "cancel", "status"'),
        ({"surprise": 1}, '"surprise" of the request is a field this side does not know'),
        ({"leases": []}, '"leases" of the request is a list, not an object'),
        ({"leases": {"a": {}}}, '"leases.a.credential" of the request is missing'),
        ({"source": 1}, '"source" of the request is an integer, not an object'),
    ],
)
def test_what_is_wrong_with_a_request_is_named(changes: dict[str, Any], sentence: str) -> None:
    """A request of another version or form is refused by its place, without a value of it."""
    raw = json.loads(request_line(NewLeases({"train": SAS}))) | changes

    with pytest.raises(WireError) as refused:
        request_of(json.dumps(raw).encode())

    assert str(refused.value).startswith(sentence)
    assert CANARY not in str(refused.value)
    assert refused.value.__cause__ is None


def test_no_request_prints_its_leases() -> None:
    """The repr of a request shows no secret; its line alone does."""
    request_ = NewLeases({"train": SAS}, SAS)

    assert CANARY not in repr(request_)
    assert request_line(request_).count(CANARY.encode()) == 2


def test_where_nobody_works_every_question_is_answered_with_none(tmp_path: Path) -> None:
    """A folder without an agent, one with a dead agent's socket, and no folder at all give None."""
    dead = tmp_path / "dead"
    dead.mkdir()
    with socket.socket(socket.AF_UNIX) as left, socket_path(dead) as path:
        left.bind(path)

    folders = [tmp_path, dead, tmp_path / "nowhere"]

    assert [status(folder) for folder in folders] == [None] * 3
    assert [cancel(folder) for folder in folders] == [None] * 3
    assert [send_leases(folder, {"train": SAS}) for folder in folders] == [None] * 3


def test_an_agent_that_is_silent_is_given_up(tmp_path: Path) -> None:
    """Who accepts and never answers costs the bound, and the error is temporary."""
    began = time.monotonic()

    with _server(tmp_path, b""), pytest.raises(Unavailable) as silent:
        status(tmp_path, timeout_seconds=0.3)

    assert silent.value.temporary
    assert 0.3 <= time.monotonic() - began < 20


def test_an_answer_without_an_end_is_refused(tmp_path: Path) -> None:
    """An answer that is longer than any message is not gathered in memory."""
    with _server(tmp_path, b"x" * (MOST_BYTES + 1)), pytest.raises(WireError, match="longer than"):
        status(tmp_path)


def test_a_refusal_is_an_error(tmp_path: Path) -> None:
    """What the agent refuses is raised with the agent's own sentence."""
    refusal = answer_line(Answer(STATUS, "the run has no reference of that name; look"))

    with _server(tmp_path, refusal), pytest.raises(WireError) as refused:
        send_leases(tmp_path, {"train": SAS})

    assert str(refused.value) == (
        f"the agent of {tmp_path} refuses the request: the run has no reference of that name; look"
    )


def test_a_long_folder_is_no_obstacle(tmp_path: Path) -> None:
    """A folder whose path is longer than a socket's name can be is asked like any other."""
    folder = tmp_path / ("d" * 200)
    folder.mkdir()

    with _server(folder, answer_line(Answer(STATUS))):
        answer = status(folder)

    assert answer == STATUS


def test_a_line_comes_in_pieces() -> None:
    """A message that arrives byte by byte is one message; what comes after its end is left."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for byte in b'{"a": 1}\nrest':
            theirs.send(bytes([byte]))

        line = read_line(ours, time.monotonic() + 10)

    assert line == b'{"a": 1}'


@contextmanager
def _server(folder: Path, answer: bytes) -> Iterator[None]:
    """Somebody who listens in the folder and says this to the first who asks."""
    with socket.socket(socket.AF_UNIX) as server, socket_path(folder) as path:
        server.bind(path)
        server.listen(1)
        done = threading.Event()

        def serve() -> None:
            link, _ = server.accept()
            with link:
                read_line(link, time.monotonic() + 10)
                if answer:
                    try:
                        link.sendall(answer)
                    except OSError:
                        return
                done.wait(20)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(20)
