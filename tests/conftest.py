"""Fixtures for every test: real servers, started once, and an environment without surprises."""

from __future__ import annotations

import importlib.util

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
