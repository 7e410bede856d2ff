"""The dialect itself: one method, one request."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from datastores.errors import Unavailable
from datastores.secret import Secret, masked
from datastores.storage.contract import ObjectInfo, Patience
from datastores.storage.webhdfs.failures import answer_from, failed, refused
from datastores.value import Value

if TYPE_CHECKING:
    import requests

API_VERSION = "2018-09-01"
CONNECTIONS = 64
PAGE_SIZE = 1000


class Status(Value):
    """A file or folder as the server describes it."""

    name: str
    is_folder: bool
    size: int
    modified_ms: int

    def as_object(self, key: str) -> ObjectInfo:
        """There are no ETags here: the time in milliseconds and the size stand for one."""
        return ObjectInfo(
            key=key,
            size=self.size,
            modified_ns=self.modified_ms * 1_000_000,
            version=f"{self.modified_ms:x}-{self.size:x}",
        )


class Client:
    """Requests to one store, each with the token as it is now."""

    def __init__(
        self, label: str, url: str, token: Callable[[], Secret] | None, patience: Patience
    ) -> None:
        self.label, self._url, self._token = label, url, token
        self.host = urllib.parse.urlsplit(url).netloc
        self._timeout = (patience.connect_seconds, patience.read_seconds)
        self._session = _session()

    def status(self, key: str) -> Status:
        return _status(self._json("GET", "GETFILESTATUS", key)["FileStatus"])

    def entries(self, folder: str) -> Iterator[list[Status]]:
        """What is in a folder, page by page; the folder's own status where it is a file."""
        after: str | None = None
        first = ""
        while True:
            told = self._json(
                "GET", "LISTSTATUS", folder, listSize=str(PAGE_SIZE), **_given(listAfter=after)
            )
            page = [_status(one) for one in told["FileStatuses"]["FileStatus"]]
            # Plain WebHDFS servers do not know these options and begin again.
            if page and page[0].name == first:
                return
            yield page
            if len(page) < PAGE_SIZE:
                return
            first, after = page[0].name, page[-1].name

    def create(self, key: str, data: bytes) -> None:
        self._send(
            "PUT", "CREATE", key, data, overwrite="true", write="true", syncFlag="CLOSE"
        ).close()

    def append(self, key: str, data: bytes, offset: int) -> None:
        self._send(
            "POST", "APPEND", key, data, append="true", offset=str(offset), syncFlag="CLOSE"
        ).close()

    def open(self, key: str, start: int, length: int) -> requests.Response:
        """A response whose body is still on its way; the caller closes it."""
        return self._send("GET", "OPEN", key, read="true", offset=str(start), length=str(length))

    def make_folder(self, folder: str) -> None:
        self._json("PUT", "MKDIRS", folder)

    def rename(self, key: str, new_key: str, *, replace: bool) -> bool:
        """Whether it was done; errors speak of the new key."""
        told = self._json(
            "PUT",
            "RENAME",
            key,
            about=new_key,
            destination=f"/{new_key}",
            **_given(renameoptions="OVERWRITE" if replace else None),
        )
        return bool(told.get("boolean", True))

    def delete(self, key: str) -> None:
        self._json("DELETE", "DELETE", key, recursive="false")

    def renew(self) -> None:
        """In a forked child: connections are shared with the parent, who goes on using them."""
        self._session = _session()

    def close(self) -> None:
        self._session.close()

    def _json(
        self, method: str, op: str, key: str, *, about: str | None = None, **query: str
    ) -> dict[str, Any]:
        with self._send(method, op, key, None, about, **query) as response:
            try:
                told = response.json() if response.content else {}
            except ValueError as error:
                raise failed(self.label, self.host, about or key, error) from masked(error)
        if not isinstance(told, dict):
            raise Unavailable(
                self.label, about or key, f"{self.host} sent no JSON object; check the address"
            )
        return told

    def _send(
        self,
        method: str,
        op: str,
        key: str,
        data: bytes | None = None,
        about: str | None = None,
        **query: str,
    ) -> requests.Response:
        import requests

        # Encoded here, since a library would tidy the path.
        path = urllib.parse.quote(key, safe="/~")
        asked = urllib.parse.urlencode(
            {"op": op, **query, "api-version": API_VERSION}, quote_via=urllib.parse.quote
        )
        try:
            response = self._session.request(
                method,
                f"{self._url}/webhdfs/v1/{path}?{asked}",
                data=data,
                headers={"Accept-Encoding": "identity"},
                # No variable of ours holds the header: crash reports print them.
                auth=_Bearer(self._token()) if self._token else _unproven,
                timeout=self._timeout,
                stream=True,
                # A token must not follow a redirection to another host.
                allow_redirects=False,
            )
            if response.status_code < 300:
                return response
            with response:
                answer = answer_from(response.status_code, response.headers, response.content)
        except requests.RequestException as error:
            raise failed(self.label, self.host, about or key or None, error) from masked(error)
        raise refused(self.label, self.host, about or key or None, answer)


class _Bearer(Value):
    """Puts the token on a request at the last moment."""

    token: Secret

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token.reveal()}"
        return request


def _unproven(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # Given no proof, requests would take one from ~/.netrc.
    return request


def _session() -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(CONNECTIONS, CONNECTIONS, max_retries=0))
    return session


def _status(told: dict[str, Any]) -> Status:
    return Status(
        name=told.get("pathSuffix", ""),
        is_folder=told["type"] == "DIRECTORY",
        size=int(told["length"]),
        modified_ms=int(told["modificationTime"]),
    )


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}
