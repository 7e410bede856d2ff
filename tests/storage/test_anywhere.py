"""File systems of fsspec keep every promise as stores."""

from __future__ import annotations

import errno
import itertools
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from datastores.credentials.kinds import AccountKey, Anonymous, StorageOptions
from datastores.definitions import FsspecUrl
from datastores.errors import (
    CredentialRefused,
    DefinitionRejected,
    DiskFull,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    StoreError,
    Unavailable,
    Unsupported,
)
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.anywhere import IN_MEMORY_BYTES, FsspecStore, open_fsspec
from datastores.storage.contract import Patience, Store
from datastores.storage.local import LocalStore
from datastores.storage.verbs import remove_below
from tests.contracts.store_contract import StoreContract, content, keys
from tests.registry.processes import forked
from tests.servers.s3 import S3Server

SCRATCH = DatastoreName.parse("scratch")
numbers = itertools.count(1)


def memory_store(path: str) -> Store:
    return open_fsspec(FsspecUrl(SCRATCH, f"memory://{path}"), Anonymous(), Patience())


def s3_options(server: S3Server) -> dict[str, object]:
    return {"key": "testing", "secret": "testing-secret-key", "endpoint_url": server.url}


def s3_store(server: S3Server, place: str, **more: object) -> Store:
    options = StorageOptions(Secret(json.dumps(s3_options(server) | more)))
    return open_fsspec(FsspecUrl(SCRATCH, f"s3://{place}"), options, Patience())


class TestMemoryFileSystem(StoreContract):
    """fsspec's own memory."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        path = f"/contract{next(numbers)}"
        store = memory_store(path)
        store.check(create=True)
        yield store
        fsspec.filesystem("memory").rm(path, recursive=True)


@pytest.fixture(scope="module")
def opened(s3_server: S3Server) -> Store:
    s3_server.make_bucket("contract")
    return s3_store(s3_server, "contract/some/folder")


class TestS3(StoreContract):
    """A folder of an S3 bucket; opened once, since opening costs more than a test."""

    @pytest.fixture
    def store(self, opened: Store) -> Iterator[Store]:
        yield opened
        remove_below(opened)


def test_identity_has_no_secret(s3_server: S3Server) -> None:
    """The identity is the URL alone, the same for every credential."""
    stores = [s3_store(s3_server, "bucket/folder/", secret=f"secret-{n}") for n in range(2)]

    assert [store.identity for store in stores] == ["s3://bucket/folder"] * 2


def test_missing_bucket_is_named(s3_server: S3Server) -> None:
    """A check of a bucket that is not there says so; with `create` the bucket is made."""
    store = s3_store(s3_server, f"absent{next(numbers)}")

    with pytest.raises(NotFound):
        store.check()
    store.check(create=True)
    store.check()

    assert keys(store.list()) == []


def test_unreachable_server_is_temporary() -> None:
    """A server that does not answer is `Unavailable`, and the message holds no secret."""
    options = {"key": "id", "secret": "very-secret-key", "endpoint_url": "http://127.0.0.1:9"}
    store = open_fsspec(
        FsspecUrl(SCRATCH, "s3://bucket"),
        StorageOptions(
            Secret(json.dumps(options | {"config_kwargs": {"retries": {"max_attempts": 0}}}))
        ),
        Patience(connect_seconds=0.2),
    )

    with pytest.raises(Unavailable) as caught:
        store.stat("file")

    assert "very-secret-key" not in str(caught.value)


def test_two_stores_do_not_share_listings(s3_server: S3Server) -> None:
    """What one store writes another one lists at once: nothing is cached."""
    bucket = f"fresh{next(numbers)}"
    s3_server.make_bucket(bucket)
    one, two = s3_store(s3_server, bucket), s3_store(s3_server, bucket)
    before = keys(two.list())

    one.write("file", b"x")

    assert (before, keys(two.list())) == ([], ["file"])


def test_body_larger_than_memory_allowance() -> None:
    """A body larger than what is held in memory goes by way of the disk, unchanged."""
    store = memory_store(f"/large{next(numbers)}")
    piece = bytes(range(256)) * 4096

    store.write("file", (piece for _ in range(IN_MEMORY_BYTES // len(piece) + 2)))

    assert content(store, "file") == piece * (IN_MEMORY_BYTES // len(piece) + 2)
    store.delete("file")


def test_object_replaced_while_read() -> None:
    """A read whose object is replaced between two ranges raises instead of mixing them."""
    store = memory_store(f"/replaced{next(numbers)}")
    store.write("file", b"a" * (9 * 1024 * 1024))

    with store.read("file") as stream:
        pieces = iter(stream)
        next(pieces)
        store.write("file", b"b" * (9 * 1024 * 1024))
        with pytest.raises(PreconditionFailed):
            list(pieces)
    store.delete("file")


def test_file_url_is_a_local_store(tmp_path: Path) -> None:
    """A `file:` URL opens the store that knows local files."""
    store = open_fsspec(FsspecUrl(SCRATCH, f"file://{tmp_path}"), Anonymous(), Patience())

    assert isinstance(store, LocalStore)
    assert store.root == tmp_path


def test_unknown_protocol_is_rejected() -> None:
    """A URL of a protocol fsspec does not know is refused with the name of the datastore."""
    with pytest.raises(DefinitionRejected, match='"scratch"'):
        open_fsspec(FsspecUrl(SCRATCH, "nonsense://x"), Anonymous(), Patience())


@pytest.mark.parametrize("text", ["no json, hunter2hunter2", '["hunter2hunter2"]'])
def test_malformed_options_stay_secret(text: str) -> None:
    """Options that are not a JSON object are refused without being shown."""
    with pytest.raises(CredentialRefused) as caught:
        open_fsspec(FsspecUrl(SCRATCH, "memory://x"), StorageOptions(Secret(text)), Patience())

    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


def test_other_credentials_are_refused() -> None:
    """An account key is no storage option."""
    with pytest.raises(CredentialRefused, match="AccountKey"):
        open_fsspec(FsspecUrl(SCRATCH, "memory://x"), AccountKey(Secret("k" * 9)), Patience())


@pytest.mark.parametrize("place", ["", "some/place"])
def test_listing_of_a_missing_root(s3_server: S3Server, place: str) -> None:
    """A listing of a bucket or root that is not there raises; it is not an empty listing."""
    for store in (
        s3_store(s3_server, f"absent{next(numbers)}"),
        memory_store(f"/absent{next(numbers)}"),
    ):
        with pytest.raises(NotFound):
            list(store.list(f"{place}/" if place else ""))
        with pytest.raises(NotFound):
            list(store.list_folder(place))


def test_listing_of_an_empty_place(s3_server: S3Server) -> None:
    """Below a bucket that is there, a place without objects is empty."""
    bucket = f"empty{next(numbers)}"
    s3_server.make_bucket(bucket)
    store = s3_store(s3_server, f"{bucket}/some/folder")

    assert (keys(store.list()), keys(store.list("place/")), keys(store.list_folder("place"))) == (
        [],
        [],
        [],
    )


def test_listing_that_cannot_be_made() -> None:
    """A file system that cannot list says so; its listing is not empty."""

    class Blind(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
        def ls(self, path: str, detail: bool = True, **options: object) -> NoReturn:
            raise NotImplementedError

    store = FsspecStore("blind", "memory://x", Blind(), "/x", "memory", [])

    with pytest.raises(Unsupported):
        list(store.list())


class ClientError(Exception):
    """An error that carries an answer, as botocore's does."""

    def __init__(self, status: int) -> None:
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}
        super().__init__(f"status {status}")


@pytest.mark.parametrize(
    ("error", "want"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskFull),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), DiskFull),
        (OSError(errno.ENAMETOOLONG, "File name too long"), Unsupported),
        (OSError(errno.EINVAL, "The specified bucket is not valid."), Unsupported),
        (OSError(errno.EROFS, "Read-only file system"), PermissionDenied),
        (OSError(errno.EBUSY, "Slow down"), Unavailable),
        (OSError(errno.EIO, "Input/output error"), Unavailable),
        (ConnectionResetError("reset"), Unavailable),
        (ClientError(400), Unsupported),
        (ClientError(403), PermissionDenied),
        (ClientError(404), NotFound),
        (ClientError(429), Unavailable),
        (ClientError(503), Unavailable),
    ],
    ids=str,
)
def test_refusals_of_a_file_system(error: Exception, want: type[StoreError]) -> None:
    """What waiting does not cure is not temporary; what it may cure is."""

    class Refusing(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
        def info(self, path: str, **options: object) -> NoReturn:
            raise error

    store = FsspecStore("refusing", "memory://x", Refusing(), "/x", "memory", [])

    with pytest.raises(StoreError) as caught:
        store.stat("file")

    assert (type(caught.value), caught.value.key) == (want, "file")


def test_bucket_that_cannot_have_its_name(s3_server: S3Server) -> None:
    """A bucket whose name no service takes is refused for good."""
    store = s3_store(s3_server, "Not_A_Bucket!")

    with pytest.raises(StoreError) as caught:
        store.check(create=True)

    assert not caught.value.temporary


def test_large_body_that_finds_no_room_on_disk() -> None:
    """A body that cannot be gathered on this machine's disk is an error of the store."""
    store = memory_store(f"/large{next(numbers)}")
    body = [b"x" * 1024 * 1024] * (IN_MEMORY_BYTES // 1024 // 1024 + 2)

    def write() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        with pytest.raises(StoreError) as caught:
            store.write("file", body)
        assert (caught.value.store, caught.value.key) == ("scratch", "file")

    assert forked(write) == 0
