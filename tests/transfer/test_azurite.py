"""The engine against a real blob service."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from datastores.credentials.kinds import AccountKey
from datastores.definitions.azure_storage import BlobContainer
from datastores.errors import TransferFailed, Unavailable
from datastores.names import DatastoreName
from datastores.storage.blob.store import open_blob
from datastores.storage.contract import Patience, Store
from datastores.transfer import (
    Integrity,
    Limits,
    Options,
    Overwrite,
    copy,
    download,
    upload,
    verify,
)
from datastores.transfer.ranges import SMALLEST
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.servers.azurite import Azurite
from tests.transfer.folder import files_in, hidden_in, objects_in
from tests.transfer.synthetic import content

WANTED = {f"d{n % 3}/s {n} é": content(n, 100 * n) for n in range(60)} | {
    "big": content(1, 3 * SMALLEST + 17)
}


@pytest.fixture
def stores(azurite: Azurite) -> Iterator[tuple[Store, Store]]:
    """Two empty containers."""
    with contextlib.ExitStack() as open_stores:
        opened = []
        for _ in range(2):
            definition = BlobContainer(
                name=DatastoreName("azurite"),
                container=azurite.container(),
                account=azurite.account,
                endpoint=azurite.endpoint,
            )
            store = open_blob(definition, AccountKey(azurite.key), Patience())
            open_stores.enter_context(contextlib.closing(store))
            opened.append(store)
        yield opened[0], opened[1]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with small files and a large one."""
    for name, body in WANTED.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return tmp_path / "source"


def test_a_folder_makes_the_round_trip(
    stores: tuple[Store, Store], source: Path, tmp_path: Path
) -> None:
    """What is uploaded comes back byte for byte, with digests checked, and is then unchanged."""
    options = Options(integrity=Integrity.MD5, declare_md5=True)

    up = upload(stores[0], source, "data/v1", options=options)
    down = download(stores[0], "data/v1", tmp_path / "t", strip="data/v1", options=options)
    again = (
        upload(stores[0], source, "data/v1", options=options),
        download(stores[0], "data/v1", tmp_path / "t", strip="data/v1", options=options),
    )

    assert (up.moved, down.moved) == (61, 61)
    assert (files_in(tmp_path / "t"), hidden_in(tmp_path / "t")) == (WANTED, [])
    assert [(summary.moved, summary.skipped) for summary in again] == [(0, 61), (0, 61)]
    assert verify(stores[0], "data/v1", tmp_path / "t", strip="data/v1").is_clean
    assert stores[0].stat("data/v1/big").md5 == hashlib.md5(WANTED["big"]).digest()


def test_an_interrupted_upload_resumes_from_uncommitted_blocks(
    stores: tuple[Store, Store], source: Path
) -> None:
    """Blocks that the service holds uncommitted are not sent twice."""
    faulty = FaultyStore(stores[0]).plan("stage", Fault(error=Unavailable("s", "big")), nth=3)
    options = Options(include=("big",), limits=Limits(streams=1))
    with pytest.raises(TransferFailed):
        upload(faulty, source, "", options=options)

    summary = upload(stores[0], source, "", options=options)

    assert summary.resumed_bytes == 2 * SMALLEST
    assert objects_in(stores[0]) == {"big": WANTED["big"]}


def test_an_interrupted_download_resumes(stores: tuple[Store, Store], tmp_path: Path) -> None:
    """Ranges that arrived before a failure are not read again."""
    stores[0].write("big", WANTED["big"])
    faulty = FaultyStore(stores[0]).plan("read", Fault(error=Unavailable("s", "big")), nth=3)
    with pytest.raises(TransferFailed):
        download(faulty, "", tmp_path, options=Options(limits=Limits(streams=1)))

    summary = download(stores[0], "", tmp_path)

    assert summary.resumed_bytes == 2 * SMALLEST
    assert files_in(tmp_path) == {"big": WANTED["big"]}


def test_names_alone_decide_when_asked(stores: tuple[Store, Store], source: Path) -> None:
    """SKIP_EXISTING leaves objects of the service alone, whatever they hold."""
    stores[0].write("big", b"theirs")
    stores[0].write("d0/s 0 é", b"theirs")

    summary = upload(stores[0], source, "", options=Options(overwrite=Overwrite.SKIP_EXISTING))

    assert (summary.moved, summary.skipped) == (59, 2)
    assert objects_in(stores[0]) == WANTED | {"big": b"theirs", "d0/s 0 é": b"theirs"}


def test_containers_are_copied(stores: tuple[Store, Store], source: Path) -> None:
    """Everything below a place arrives in another container."""
    upload(stores[0], source, "a")

    summary = copy(stores[0], "a", stores[1], "b")

    assert summary.moved == 61
    assert objects_in(stores[1]) == {f"b/{name}": body for name, body in WANTED.items()}


def test_a_folder_without_its_place_is_empty(stores: tuple[Store, Store], tmp_path: Path) -> None:
    """A place that does not exist gives no files and no error."""
    assert download(stores[0], "nowhere", tmp_path).found == 0
