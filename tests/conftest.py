"""Fixtures for every test: real servers, started once, and an environment without surprises."""

from __future__ import annotations

import importlib.util
import signal

import pytest

# A shell starts what it puts into the background without SIGINT, and so would be every program
# that is started here; tests that interrupt one would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Each of these modules brings the fixtures of one server.
pytest_plugins = [
    name
    for name in (
        "tests.servers.azurite",
        "tests.servers.postgres",
        "tests.servers.files",
        "tests.servers.webhdfs",
        "tests.servers.s3",
        "tests.servers.mariadb",
    )
    if importlib.util.find_spec(name)
]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test that was skipped is a feature that was not shown: the run fails and names it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        # One of several processes; the one that started them reports for all.
        return
    skipped = sorted({report.nodeid for report in reporter.stats.get("skipped", ())})
    if skipped:
        reporter.write_line(f"no test may be skipped: {', '.join(skipped)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
