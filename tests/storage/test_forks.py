"""A forked child can use every store that its parent has used, as a data loader's workers do."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datastores.credentials.kinds import AccountKey, StorageOptions
from datastores.definitions import FsspecUrl
from datastores.definitions.azure_storage import BlobContainer
from datastores.errors import Unavailable
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.anywhere import open_fsspec
from datastores.storage.blob import open_blob
from datastores.storage.contract import Patience, Store
from datastores.storage.file_share import open_file_share
from datastores.storage.local import LocalStore
from datastores.storage.open import open_folder
from datastores.storage.retrying import RetryingStore
from datastores.storage.webhdfs import open_gen1
from tests.contracts.store_contract import content, keys
from tests.registry.processes import forked
from tests.servers.azurite import Azurite
from tests.servers.files import FilesServer
from tests.servers.s3 import S3Server
from tests.servers.webhdfs import Gen1Server
from tests.storage.test_file_share import definition_on
from tests.storage.test_webhdfs import definition_at

SCRATCH = DatastoreName("scratch")


@pytest.fixture
def blob(azurite: Azurite) -> Iterator[Store]:
    definition = BlobContainer(SCRATCH, azurite.container(), azurite.account, azurite.endpoint)
    store = open_blob(definition, AccountKey(azurite.key), Patience())
    yield store
    store.close()


@pytest.fixture
def share(files_server: FilesServer) -> Iterator[Store]:
    definition = definition_on(files_server, files_server.share())
    store = open_file_share(definition, AccountKey(files_server.key), Patience())
    yield store
    store.close()


@pytest.fixture
def gen1(gen1_server: Gen1Server) -> Iterator[Store]:
    store = open_gen1(definition_at(gen1_server.store()), gen1_server.token(), Patience())
    yield store
    store.close()


@pytest.fixture
def s3(s3_server: S3Server) -> Store:
    s3_server.make_bucket("forks")
    options = {"key": "testing", "secret": "testing-secret-key", "endpoint_url": s3_server.url}
    return open_fsspec(
        FsspecUrl(SCRATCH, "s3://forks"), StorageOptions(Secret(json.dumps(options))), Patience()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    return open_folder("scratch", tmp_path)


def inherited(store: Store) -> None:
    """What a child does with its parent's store."""
    assert content(store, "d/first") == b"first"
    store.write("d/second", b"second")
    assert content(store, "d/second") == b"second"
    assert keys(store.list()) == ["d/first", "d/second"]


@pytest.mark.parametrize("name", ["blob", "share", "gen1", "s3", "folder"])
def test_child_uses_the_store_of_its_parent(name: str, request: pytest.FixtureRequest) -> None:
    """A child reads, writes and lists with a store its parent has used, and so does the parent."""
    store: Store = request.getfixturevalue(name)
    store.write("d/first", b"first")
    used = (content(store, "d/first"), keys(store.list()))

    code = forked(lambda: inherited(store))

    assert (used, code) == ((b"first", ["d/first"]), 0)
    assert (content(store, "d/second"), keys(store.list())) == (
        b"second",
        ["d/first", "d/second"],
    )


def test_child_opens_a_store_of_its_own(azurite: Azurite) -> None:
    """A store that a child opens works although its parent has used another one."""
    definition = BlobContainer(SCRATCH, azurite.container(), azurite.account, azurite.endpoint)

    def use(act: Callable[[Store], object]) -> None:
        store = open_blob(definition, AccountKey(azurite.key), Patience())
        act(store)
        store.close()

    use(lambda store: (store.write("d/first", b"first"), content(store, "d/first")))

    assert forked(lambda: use(inherited)) == 0


def test_child_goes_on_with_a_read_of_its_parent(blob: Store) -> None:
    """A read that was begun before the fork is refused in the child, and resumed by retrying."""
    body = os.urandom(3 * 1024 * 1024)
    blob.write("file", body)
    patient = RetryingStore(blob, Patience(), jitter=lambda: 0.0)
    plain, resuming = blob.read("file"), patient.read("file")
    begun, going_on = iter(plain), iter(resuming)
    got = [bytes(next(begun)), bytes(next(going_on))]

    def go_on() -> None:
        with pytest.raises(Unavailable, match="before the fork"):
            next(begun)
        assert got[1] + b"".join(bytes(piece) for piece in going_on) == body

    code = forked(go_on)

    assert code == 0
    assert got[0] + b"".join(bytes(piece) for piece in begun) == body
    plain.close()
    resuming.close()


def test_child_of_a_writer_that_is_placing(folder: Store) -> None:
    """A child writes to a folder although a thread of its parent was placing a file there."""
    assert isinstance(folder, LocalStore)
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with folder._placing:
            held.set()
            over.wait(60)

    writer = threading.Thread(target=hold)
    writer.start()
    held.wait(60)

    code = forked(lambda: folder.write("file", b"x"))

    over.set()
    writer.join()
    assert code == 0
