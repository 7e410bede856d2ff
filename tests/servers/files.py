"""A file share service of ours: Azure Files over HTTP, in memory, with real authorization.

No emulator of Azure Files exists. This server speaks the documented REST subset that the
unmodified `azure-storage-file-share` client needs, verifies every signature, and lets a test
order the failures a real service has.
"""

from __future__ import annotations

import base64
import itertools
import secrets
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from datastores.secret import Secret
from tests.servers.files_auth import Call, Guard
from tests.servers.files_http import Account, Answer, Handler, Planned, error_answer
from tests.servers.files_listener import Listener
from tests.servers.files_tree import Refused, Share


class FilesServer(Listener):
    """A running account."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.account = "devaccount"
        self.key = Secret(base64.b64encode(secrets.token_bytes(64)).decode())
        self.endpoint = f"{self.address}/{self.account}"
        self.state = Account(Guard(self.account, self.key.reveal()), self.endpoint)
        self._numbers = itertools.count(1)
        self._seen: list[tuple[str, str, int]] = []

    def share(self) -> str:
        """A fresh share nobody else uses."""
        name = f"share-{next(self._numbers)}"
        self.state.shares[name] = Share(name)
        return name

    def names(self, share: str) -> list[str]:
        """Every path in the share, folders with a slash, as the service holds them."""
        with self.state.lock:
            return sorted(_paths(self.state.shares[share].root, ""))

    def fail_next(
        self,
        status: int,
        code: str,
        *,
        times: int = 1,
        headers: dict[str, str] | None = None,
        when: Callable[[Call], bool] = lambda _call: True,
    ) -> None:
        """Answer the next matching requests with this error instead of obeying them."""
        answer = error_answer(Refused(status, code))
        answer.headers |= headers or {}
        self.answer_next(answer, times=times, when=when)

    def answer_next(self, answer: Answer, *, times: int, when: Callable[[Call], bool]) -> None:
        """Give this answer to the next matching requests."""
        self.state.planned.extend([Planned(answer, when)] * times)

    def requests_for(self, share: str) -> list[tuple[str, str, int]]:
        """Method, path with query, status of every request that named the share, in order."""
        mark = f"/{self.account}/{share}"
        return [seen for seen in self._seen if urllib.parse.urlsplit(seen[1]).path.startswith(mark)]

    def note(self, method: str, path: str, status: int) -> None:
        self._seen.append((method, path, status))


def _paths(folder: Any, above: str) -> Iterator[str]:
    for entry in folder.entries.values():
        if hasattr(entry, "entries"):
            yield f"{above}{entry.name}/"
            yield from _paths(entry, f"{above}{entry.name}/")
        else:
            yield above + entry.name


@pytest.fixture(scope="session")
def files_server() -> Iterator[FilesServer]:
    """A file share service for the whole session; tests take a share of their own."""
    with FilesServer() as server:
        yield server
