"""Logs are lines for people or for programs, and hold no secret in either form."""

from __future__ import annotations

import json
import logging

import pytest

from datastores.secret import Secret
from mount.logs import line_formatter

SECRET = Secret('canary "quoted" secret')


def record(*, broken: bool = False) -> logging.LogRecord:
    """What somebody says who should have been silent about the secret."""
    trace = None
    if broken:
        try:
            int(SECRET.reveal())
        except ValueError as error:
            trace = (ValueError, error, error.__traceback__)
    said = ("%s is used", SECRET.reveal())
    return logging.LogRecord("mount.fs", logging.WARNING, __file__, 1, said[0], said[1:], trace)


def test_lines_for_people() -> None:
    """A line has the form that was asked for, with the level in lower case and the secret masked."""
    line = line_formatter("agent: %(level)s: %(message)s").format(record())

    assert line == "agent: warning: ******** is used"


def test_lines_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With DATASTORES_LOG=json a record is one object on one line, trace included, masked."""
    monkeypatch.setenv("DATASTORES_LOG", "json")

    line = line_formatter("ignored").format(record(broken=True))

    told = json.loads(line)
    assert (told["level"], told["part"], told["message"]) == (
        "warning",
        "mount.fs",
        "******** is used",
    )
    assert told["time"].endswith("+00:00")
    assert "base 10: '********'" in told["trace"]
    assert "\n" not in line
    assert "canary" not in line
