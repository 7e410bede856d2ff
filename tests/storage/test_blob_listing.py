"""Listings of containers: the service's XML, many pages, and names that hurt."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from datastores.credentials.kinds import AccountKey
from datastores.definitions.azure_storage import BlobContainer, DataLakeGen2
from datastores.names import DatastoreName
from datastores.storage.blob import listing, open_blob
from datastores.storage.blob.listing import RawPage, nanoseconds, parse
from datastores.storage.contract import ObjectInfo, Page, Patience, Store
from tests.servers.azurite import Azurite

MOMENT = "Sat, 21 Nov 2026 05:00:00 GMT"
MOMENT_NS = int(datetime(2026, 11, 21, 5, tzinfo=UTC).timestamp()) * 1_000_000_000
FIELDS = f"<Last-Modified>{MOMENT}</Last-Modified><Etag>0x1</Etag>"


@pytest.fixture
def store(azurite: Azurite) -> Iterator[Store]:
    definition = BlobContainer(
        DatastoreName("pictures"), azurite.container(), azurite.account, azurite.endpoint
    )
    store = open_blob(definition, AccountKey(azurite.key), Patience())
    yield store
    store.close()


def xml(blobs: str, marker: str = "") -> bytes:
    return (
        '\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="c">'
        f"<Blobs>{blobs}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    ).encode()


def info(key: str, size: int = 3, **more: object) -> ObjectInfo:
    return ObjectInfo(key, size, MOMENT_NS, "0x1", **more)  # type: ignore[arg-type] # test data


def blob(name: str, properties: str = "<Content-Length>3</Content-Length>", tail: str = "") -> str:
    return f"<Blob>{name}<Properties>{FIELDS}{properties}</Properties>{tail}</Blob>"


def test_blob_of_the_service() -> None:
    """Name, size, time, version, digest and metadata are read; other properties are passed over."""
    page = xml(
        blob(
            "<Name>a/b.jpg</Name>",
            "<Content-Length>42</Content-Length><Content-Type>image/jpeg</Content-Type>"
            "<Content-MD5>XUFAKrxLKna5cZ2REBfFkg==</Content-MD5><Cache-Control />",
            "<Metadata><owner>vision</owner></Metadata><OrMetadata />",
        )
    )

    digest = bytes.fromhex("5d41402abc4b2a76b9719d911017c592")
    want = info("a/b.jpg", 42, md5=digest, metadata={"owner": "vision"})
    assert parse(page) == RawPage([want], [], [], "")


def test_metadata_may_be_named_like_elements() -> None:
    """Metadata named like the service's own elements changes nothing but the metadata."""
    odd = {"Name": "n", "Blob": "b", "Metadata": "m", "Etag": "e", "NextMarker": "x"}
    children = "".join(f"<{name}>{value}</{name}>" for name, value in odd.items())
    page = xml(
        blob("<Name>a</Name>", tail=f"<Metadata>{children}</Metadata>") + blob("<Name>b</Name>"),
        "more",
    )

    assert parse(page) == RawPage([info("a", metadata=odd), info("b")], [], [], "more")


def test_escaped_names() -> None:
    """Names that XML cannot carry come percent-encoded and marked; others are taken as they are."""
    page = xml(
        blob('<Name Encoded="true">a%EF%BF%BE%2Fb%20c</Name>')
        + blob("<Name>100%25 &lt;&amp;</Name>")
        + '<BlobPrefix><Name Encoded="true">p%EF%BF%BF/</Name></BlobPrefix>'
    )

    want = [info("a\ufffe/b c"), info("100%25 <&")]
    assert parse(page) == RawPage(want, [], ["p\uffff/"], "")


def test_folder_markers() -> None:
    """Directories of ADLS Gen2, Hadoop's markers and empty `place/` are folders; others are not."""
    says = "<Metadata><Hdi_isfolder>true</Hdi_isfolder></Metadata>"
    denies = "<Metadata><hdi_isfolder>false</hdi_isfolder></Metadata>"
    empty = "<Content-Length>0</Content-Length>"
    page = xml(
        blob("<Name>gen2</Name>", f"{empty}<ResourceType>directory</ResourceType>")
        + blob("<Name>gen2/f</Name>", f"{empty}<ResourceType>file</ResourceType>")
        + blob("<Name>hadoop</Name>", empty, says)
        + blob("<Name>slash/</Name>", empty)
        + blob("<Name>full/</Name>")
        + blob("<Name>empty</Name>", empty, denies)
    )

    assert parse(page) == RawPage(
        [info("gen2/f", 0), info("full/"), info("empty", 0, metadata={"hdi_isfolder": "false"})],
        ["gen2", "hadoop", "slash"],
        [],
        "",
    )


@pytest.mark.parametrize("gap", ["\n  ", " ", "\r\n\t"])
def test_indented_answer(gap: str) -> None:
    """White space between elements, as compatible services send, is no part of a value."""
    page = xml(blob("<Name>a</Name>", "<Content-Length>3</Content-Length><Content-MD5 />"), "m")
    indented = page.replace(b"><", f">{gap}<".encode())

    assert parse(indented) == parse(page) == RawPage([info("a")], [], [], "m")


@pytest.mark.parametrize(
    "moment", ["Sat, 29 Feb 2020 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"]
)
def test_moments(moment: str) -> None:
    """A time of the service is the same moment as the standard library makes of it."""
    parsed = datetime.strptime(moment, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)

    assert nanoseconds(moment) == int(parsed.timestamp()) * 1_000_000_000


def test_listing_of_many_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """More blobs than a page holds are listed once each, in order, over several pages."""
    # The service pages as it is asked to; 5,000 blobs show no more and take half a minute.
    monkeypatch.setattr(listing, "PAGE_SIZE", 50)
    want = [f"many/{number:05d}" for number in range(253)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.write(key, b""), want))

    pages = list(store.list("many/"))

    assert [len(page.objects) for page in pages] == [50, 50, 50, 50, 50, 3]
    assert [info.key for page in pages for info in page.objects] == want


def test_listing_with_every_hurtful_name(store: Store) -> None:
    """Names that break other clients' listings are listed beside ordinary ones, all as spelled."""
    names = [
        "ordinary", "a//b", "a///b", "/lead", "//lead", "tail//x", "nl\nx", "tab\tx", "del\x7f", " ",
        "a%20b", "a%2Fb", "a+b", "q?x", "h#x", "a&b", "<a>", '"', "'", "é", "e\u0301", "日本", "🙂",
        "a.", "...", "a./b", "\u2028", "\ufeff", "\u0085", "k" * 1024,
    ]  # fmt: skip
    for number, name in enumerate(names):
        store.write(name, b"x" * number)

    listed = {info.key: info.size for page in store.list() for info in page.objects}

    assert listed == {name: number for number, name in enumerate(names)}


def test_double_slashes_are_folders_without_a_name(store: Store) -> None:
    """`a//b` is in the folder `a/`, and a walk of folders finds it there."""
    store.write("a//b", b"x")

    found = [
        (page.folders, [info.key for info in page.objects])
        for place in ("", "a", "a/")
        for page in store.list_folder(place)
    ]

    assert found == [(["a"], []), (["a/"], []), ([], ["a//b"])]


def test_listed_digest_is_that_of_the_bytes(store: Store) -> None:
    """Objects written in one request carry the digest that the service took of them."""
    store.write("a", b"hello")

    digests = [info.md5 for page in store.list() for info in page.objects]

    assert digests == [bytes.fromhex("5d41402abc4b2a76b9719d911017c592")]
    assert store.stat("a").md5 == digests[0]


def test_marker_and_content_are_one_folder(azurite: Azurite) -> None:
    """A Gen2 folder with a marker, content and neighbours between them shows once."""
    definition = DataLakeGen2(
        DatastoreName("lake"), azurite.container(), azurite.account, azurite.endpoint
    )
    store = open_blob(definition, AccountKey(azurite.key), Patience())
    assert store.folders
    store.folders.make_folder("d")
    for key in ("d-between", "d/inside", "d0"):
        store.write(key, b"x")

    [page] = store.list_folder()
    store.close()

    assert Page([], page.folders) == Page([], ["d"])
    assert [info.key for info in page.objects] == ["d-between", "d0"]


def test_identity_is_the_same_for_both_kinds(azurite: Azurite) -> None:
    """A container has one identity, whichever definition and credential reach it."""
    identities = [
        open_blob(
            kind(DatastoreName("any"), "images", azurite.account, azurite.endpoint),
            AccountKey(azurite.key),
            Patience(),
        ).identity
        for kind in (BlobContainer, DataLakeGen2)
    ]

    host = azurite.endpoint.removeprefix("http://")
    assert identities == [f"azure-blob://{host}/images"] * 2
