"""The file share server refuses what Azure refuses, seen by the unmodified client."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.fileshare import (
    ContentSettings,
    ShareClient,
    ShareFileClient,
    generate_account_sas,
    generate_file_sas,
    generate_share_sas,
)

from tests.servers.files import FilesServer

SOON = timedelta(hours=1)


@contextmanager
def client(server: FilesServer, share: str, proof: Any = None) -> Iterator[ShareClient]:
    """The client with no retries; by default with the account's key."""
    proof = proof or AzureNamedKeyCredential(server.account, server.key.reveal())
    with ShareClient(server.endpoint, share, credential=proof, retry_total=0) as made:
        yield made


def code_of(act: Callable[[], object]) -> tuple[int | None, str]:
    """Status and code of the error the act ends in."""
    with pytest.raises(HttpResponseError) as caught:
        act()
    response: Any = caught.value.response
    return caught.value.status_code, response.headers["x-ms-error-code"]


def sas(server: FilesServer, share: str, permission: str = "rcwdl", **more: Any) -> str:
    """A signature for the share."""
    more.setdefault("expiry", datetime.now(UTC) + SOON)
    return generate_share_sas(
        server.account, share, server.key.reveal(), permission=permission, **more
    )


def test_wrong_key_is_refused(files_server: FilesServer) -> None:
    """A signature by another key is refused, whatever it asks for."""
    wrong = AzureNamedKeyCredential(files_server.account, base64.b64encode(b"x" * 64).decode())

    with client(files_server, files_server.share(), wrong) as share:
        refused = code_of(share.get_share_properties)

    assert refused == (403, "AuthenticationFailed")


def test_tampered_request_is_refused(files_server: FilesServer) -> None:
    """A signed request whose query, header or path was changed on its way is refused."""
    name = files_server.share()
    caught: list[Any] = []
    with client(files_server, name) as share:
        share.create_directory("a")
        list(
            share.list_directories_and_files(
                "a", raw_response_hook=lambda seen: caught.append(seen.http_request)
            )
        )
    url, headers = caught[0].url, dict(caught[0].headers)

    answers = [
        requests.get(address, headers={**headers, **changed}, timeout=10).status_code
        for address, changed in [
            (url, {}),
            (url + "&prefix=x", {}),
            (url.replace("/a?", "/b?"), {}),
            (url, {"x-ms-version": "2019-02-02"}),
            (url, {"x-ms-extra": "1"}),
            (url, {"Authorization": ""}),
        ]
    ]

    assert answers == [200, 403, 403, 403, 403, 401]


def test_old_request_is_refused(files_server: FilesServer) -> None:
    """A request signed more than a quarter of an hour ago is refused."""
    name = files_server.share()
    guard = files_server.state.guard
    files_server.state.guard = type(guard)(
        guard.account, files_server.key.reveal(), lambda: datetime.now(UTC) + SOON
    )
    try:
        with client(files_server, name) as share:
            refused = code_of(share.get_share_properties)
    finally:
        files_server.state.guard = guard

    assert refused == (403, "AuthenticationFailed")


@pytest.mark.parametrize(
    "more",
    [
        {"expiry": datetime(2020, 1, 1, tzinfo=UTC)},
        {"start": datetime.now(UTC) + SOON, "expiry": datetime.now(UTC) + 2 * SOON},
    ],
    ids=["expired", "not-yet"],
)
def test_sas_outside_its_time(files_server: FilesServer, more: dict[str, Any]) -> None:
    """A signature is refused before it starts and after it ends."""
    name = files_server.share()

    with client(files_server, name, sas(files_server, name, **more)) as share:
        refused = code_of(lambda: list(share.list_directories_and_files()))

    assert refused == (403, "AuthenticationFailed")


def test_sas_with_changed_permissions(files_server: FilesServer) -> None:
    """Permissions added to a signature after it was made void it."""
    name = files_server.share()
    widened = sas(files_server, name, "l").replace("sp=l", "sp=rcwdl")

    with client(files_server, name, widened) as share:
        refused = code_of(lambda: list(share.list_directories_and_files()))

    assert refused == (403, "AuthenticationFailed")


@pytest.mark.parametrize(
    ("permission", "act"),
    [
        ("r", lambda share: list(share.list_directories_and_files())),
        ("rl", lambda share: share.create_directory("x")),
        ("rl", lambda share: share.get_file_client("x").create_file(1)),
        ("l", lambda share: share.get_file_client("file").download_file()),
        ("rcwl", lambda share: share.get_file_client("file").delete_file()),
        ("rcl", lambda share: share.get_file_client("file").upload_range(b"x", 0, 1)),
    ],
    ids=["list", "folder", "create", "read", "delete", "overwrite"],
)
def test_sas_without_the_permission(
    files_server: FilesServer, permission: str, act: Callable[[ShareClient], object]
) -> None:
    """A good signature that lacks the letter for an operation does not allow it."""
    name = files_server.share()
    with client(files_server, name) as owner:
        owner.get_file_client("file").upload_file(b"x")

    with client(files_server, name, sas(files_server, name, permission)) as share:
        refused = code_of(lambda: act(share))

    assert refused == (403, "AuthorizationPermissionMismatch")


def test_sas_of_another_place(files_server: FilesServer) -> None:
    """A signature for one share or file opens no other, and a share's none of the account."""
    mine, other = files_server.share(), files_server.share()
    with client(files_server, mine) as owner:
        owner.get_file_client("one").upload_file(b"1")
        owner.get_file_client("two").upload_file(b"2")
    for_one = generate_file_sas(
        files_server.account,
        mine,
        ["one"],
        files_server.key.reveal(),
        permission="r",
        expiry=datetime.now(UTC) + SOON,
    )
    endpoint = files_server.endpoint
    with (
        client(files_server, other, sas(files_server, mine)) as wrong_share,
        client(files_server, mine, sas(files_server, mine)) as right_share,
        ShareFileClient(endpoint, mine, "one", credential=for_one, retry_total=0) as one,
        ShareFileClient(endpoint, mine, "two", credential=for_one, retry_total=0) as two,
    ):
        read = one.download_file().readall()
        refused = [
            code_of(lambda: list(wrong_share.list_directories_and_files())),
            code_of(two.download_file),
            code_of(right_share.get_share_properties),
        ]

    assert read == b"1"
    assert refused == [
        (403, "AuthenticationFailed"),
        (403, "AuthenticationFailed"),
        (403, "AuthorizationFailure"),
    ]


@pytest.mark.parametrize(
    ("services", "types", "code"),
    [("b", "sco", "AuthorizationServiceMismatch"), ("f", "o", "AuthorizationResourceTypeMismatch")],
)
def test_account_sas_reach(files_server: FilesServer, services: str, types: str, code: str) -> None:
    """An account's signature reaches the services and resource types it names, and no others."""
    token = generate_account_sas(
        files_server.account,
        files_server.key.reveal(),
        types,
        "rl",
        datetime.now(UTC) + SOON,
        services=services,
    )

    with client(files_server, files_server.share(), token) as share:
        refused = code_of(lambda: list(share.list_directories_and_files()))

    assert refused == (403, code)


def test_pages_of_a_listing(files_server: FilesServer) -> None:
    """A listing comes in pages of the size asked for, by prefix, each entry once and in order."""
    with client(files_server, files_server.share()) as share:
        for name in ("b1", "a1", "B2", "b3", "c"):
            share.get_file_client(name).create_file(1)
        share.create_directory("b0")

        pages = share.list_directories_and_files(name_starts_with="b", results_per_page=2).by_page()
        got = [sorted(entry.name for entry in page) for page in pages]

    assert got == [["b0", "b1"], ["B2", "b3"]]


def test_rename_needs_the_signature_twice(files_server: FilesServer) -> None:
    """With a signature on the request alone, the source of a rename is not granted."""
    name = files_server.share()
    token = sas(files_server, name)
    with (
        client(files_server, name, AzureSasCredential(token)) as once,
        client(files_server, name, token) as twice,
    ):
        once.get_file_client("a").create_file(1)

        refused = code_of(lambda: once.get_file_client("a").rename_file("b"))
        twice.get_file_client("a").rename_file("c")

    assert refused == (403, "AuthenticationFailed")
    assert files_server.names(name) == ["c"]


def test_ranges_are_sparse(files_server: FilesServer) -> None:
    """Unwritten and cleared bytes read as zeros and are in no listed range."""
    with client(files_server, files_server.share()) as share:
        file = share.get_file_client("sparse")
        file.create_file(300_000)
        file.upload_range(b"a" * 4096, 0, 4096)
        file.upload_range(b"b" * 4096, 200_000, 4096)
        file.clear_range(0, 1024)

        held = file.download_file().readall()
        ranges = [(found["start"], found["end"]) for found in file.list_ranges()]

    assert held == (
        bytes(1024) + b"a" * 3072 + bytes(195_904) + b"b" * 4096 + bytes(300_000 - 204_096)
    )
    assert ranges == [(1024, 4095), (200_000, 204_095)]


def test_digest_of_a_range(files_server: FilesServer) -> None:
    """The client's own MD5 validation passes for ranges that were asked with a digest."""
    body = bytes(range(256)) * 40_000
    with client(files_server, files_server.share()) as share:
        file = share.get_file_client("file")
        file.upload_file(body, validate_content=True)

        held = file.download_file(validate_content=True).readall()

    assert held == body


def test_properties(files_server: FilesServer) -> None:
    """Metadata and content settings come back, and new settings replace all old ones."""
    with client(files_server, files_server.share()) as share:
        file = share.get_file_client("file")
        file.upload_file(
            b"x",
            metadata={"Owner": "me"},
            content_settings=ContentSettings(content_type="text/plain", cache_control="no-store"),
        )
        first = file.get_file_properties()
        file.set_http_headers(ContentSettings(content_language="la"))
        file.set_file_metadata({"b": "2"})
        second = file.get_file_properties()

    assert (first.metadata, first.content_settings.content_type) == ({"Owner": "me"}, "text/plain")
    assert (second.metadata, second.content_settings.content_language) == ({"b": "2"}, "la")
    assert second.content_settings.cache_control is None
    assert first.etag != second.etag


def test_names_ignore_capitals(files_server: FilesServer) -> None:
    """A file is found under any capitals and listed with those it was made with."""
    with client(files_server, files_server.share()) as share:
        share.get_file_client("ReadMe.TXT").upload_file(b"x")

        found = share.get_file_client("readme.txt").download_file().readall()
        listed = [entry.name for entry in share.list_directories_and_files(name_starts_with="rEAD")]

    assert (found, listed) == (b"x", ["ReadMe.TXT"])


def test_dots_at_the_end(files_server: FilesServer) -> None:
    """Without the header for them, dots at the ends of names are cut off."""
    name = files_server.share()
    with client(files_server, name) as share:
        share.get_file_client("cut...").upload_file(b"x")
    key = AzureNamedKeyCredential(files_server.account, files_server.key.reveal())
    with ShareClient(
        files_server.endpoint, name, credential=key, allow_trailing_dot=True
    ) as keeping:
        keeping.get_file_client("kept...").upload_file(b"x")

    assert files_server.names(name) == ["cut", "kept..."]


def test_errors_of_the_tree(files_server: FilesServer) -> None:
    """Missing parents, wrong types, full folders and bad names are told apart as Azure does."""
    with client(files_server, files_server.share()) as share:
        share.create_directory("folder")
        share.get_file_client("folder/file").upload_file(b"x")

        codes = [
            code_of(lambda: share.get_file_client("missing").download_file()),
            code_of(lambda: share.get_file_client("no/parent").create_file(1)),
            code_of(lambda: share.create_directory("folder")),
            code_of(lambda: share.delete_directory("folder")),
            code_of(lambda: share.get_file_client("folder").create_file(1)),
            code_of(lambda: share.get_file_client("a:b").create_file(1)),
            code_of(lambda: share.get_file_client("folder/file").upload_range(b"xy", 0, 2)),
            code_of(lambda: share.get_file_client("folder/file").rename_file("folder/file2/x")),
            code_of(share.create_share),
        ]

    assert codes == [
        (404, "ResourceNotFound"),
        (404, "ParentNotFound"),
        (409, "ResourceAlreadyExists"),
        (409, "DirectoryNotEmpty"),
        (409, "ResourceTypeMismatch"),
        (400, "InvalidResourceName"),
        (416, "InvalidRange"),
        (404, "ParentNotFound"),
        (409, "ShareAlreadyExists"),
    ]
