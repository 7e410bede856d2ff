"""Folders that are listed again, and who notices."""

from __future__ import annotations

import time

from tests.mount.fs.conftest import Mounted, MountIt, put


def test_a_folder_listed_a_moment_ago_is_listed_without_a_request(mounted: Mounted) -> None:
    """The second listing sends nothing and shows the same names in the same order, attributes too."""
    for name in ("d/b", "d/a.txt", "d/a/below", "d/c"):
        put(mounted, name, name.encode())
    first = list(mounted.kernel.children("d"))
    asked = mounted.requests()

    second = list(mounted.kernel.children("d", most=2))

    assert mounted.requests() == asked
    plain = [
        [(child.name, child.inode, child.kind, child.cookie) for child in some]
        for some in (first, second)
    ]
    assert plain[0] == plain[1]
    assert [child.name for child in first] == [b"a", b"a.txt", b"b", b"c"]
    assert all(child.entry and child.entry.attributes.inode == child.inode for child in second)


def test_what_this_mount_changed_is_in_the_next_listing(mounted: Mounted) -> None:
    """New, removed, renamed and not yet stored files are right in a listing that asks nobody."""
    for name in ("d/a", "d/b", "d/c"):
        put(mounted, name, name.encode())
    assert mounted.kernel.list("d") == ["a", "b", "c"]

    mounted.kernel.unlink("d/a")
    mounted.kernel.rename("d/b", "d/e")
    mounted.kernel.write("d/d", b"new")
    mounted.kernel.mkdir("d/f")
    with mounted.kernel.open("d/open", create=True):
        assert mounted.kernel.list("d") == ["c", "d", "e", "f", "open"]
    mounted.kernel.rmdir("d/f")

    assert sorted(mounted.kernel.list("d")) == ["c", "d", "e", "open"]


def test_what_the_kernel_forgot_is_listed_from_what_is_known(mounted: Mounted) -> None:
    """Names whose nodes are gone come from their facts, under the numbers they had."""
    for name in ("a", "b"):
        put(mounted, name, name.encode())
    first = {child.name: child.inode for child in mounted.kernel.children()}
    mounted.kernel.forget_all()
    asked = mounted.requests()

    assert {child.name: child.inode for child in mounted.kernel.children()} == first
    assert mounted.requests() == asked


def test_another_clients_files_are_listed_after_the_lifetime(mount_it: MountIt) -> None:
    """A listing is believed for `absent_seconds`, and not at all when that is nothing."""
    doubtful, believing = mount_it(absent_seconds=0.0), mount_it(absent_seconds=0.2)
    for mounted in (doubtful, believing):
        put(mounted, "a", b"1")
        assert mounted.kernel.list() == ["a"]
        put(mounted, "b", b"2")

    assert doubtful.kernel.list() == ["a", "b"]
    until = time.monotonic() + 30
    while believing.kernel.list() != ["a", "b"] and time.monotonic() < until:
        time.sleep(0.01)
    assert believing.kernel.list() == ["a", "b"]


def test_a_refresh_lists_again(mounted: Mounted) -> None:
    """After a refresh the store is asked for a folder that was listed a moment ago."""
    put(mounted, "a", b"1")
    assert mounted.kernel.list() == ["a"]
    put(mounted, "b", b"2")

    mounted.fs.refresh()

    assert mounted.kernel.list() == ["a", "b"]


def test_children_that_are_doubtful_are_asked_for(mount_it: MountIt) -> None:
    """When the attributes of the names are no longer believed, the folder is listed anew."""
    mounted = mount_it(attribute_seconds=0.0)
    put(mounted, "a", b"1")
    assert mounted.kernel.list() == ["a"]
    put(mounted, "a", b"longer")

    (child,) = mounted.kernel.children()

    assert child.entry
    assert child.entry.attributes.size == 6
