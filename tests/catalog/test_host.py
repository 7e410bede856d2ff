"""A web server that is no Azure storage is not taken for one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from datastores import Datastore, Workspace
from datastores.catalog.host import find_stranger
from datastores.definitions import BlobContainer
from datastores.errors import NotFound
from datastores.names import DatastoreName
from tests.servers.azurite import Azurite

PAGE = b"<html><body>This is the intranet</body></html>"
KEY = "a2V5a2V5a2V5a2V5"


class Intranet(BaseHTTPRequestHandler):
    """One page for every path, under the code that the path's second part names."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def intranet() -> Iterator[str]:
    """The address of a web server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Intranet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("code", [200, 403, 404])
@pytest.mark.parametrize(
    "register", [Datastore.register_azure_blob_container, Datastore.register_azure_file_share]
)
def test_a_web_server_is_no_storage(
    workspace: Workspace, intranet: str, code: int, register: object
) -> None:
    """Whatever page it answers with, registering says what the host is not, and keeps nothing."""
    assert callable(register)

    with pytest.raises(NotFound, match=f"answered {code} and does not look like Azure storage"):
        register(
            workspace, "images", "pics", "acme", account_key=KEY, endpoint=f"{intranet}/{code}"
        )

    assert "images" not in workspace.datastore_names()


def test_storage_and_silence_pass(azurite: Azurite) -> None:
    """A server that speaks as Azure does is let through, and so is one that does not answer."""
    for endpoint in (azurite.endpoint, "http://127.0.0.1:1/acme"):
        definition = BlobContainer(DatastoreName("images"), "absent", "acme", endpoint)
        assert find_stranger(definition) is None


def test_a_gate_may_be_storage(intranet: str) -> None:
    """An unmarked 403 leaves the last word to the store; an unmarked page does not."""
    certain = {}
    for code in (200, 401, 403, 404):
        endpoint = f"{intranet}/{code}"
        found = find_stranger(BlobContainer(DatastoreName("images"), "absent", "acme", endpoint))
        certain[code] = found and found.is_certain

    assert certain == {200: True, 401: False, 403: False, 404: True}
