"""What may stay in the kernel's page cache."""

from __future__ import annotations

from mount.fs.contract import Opened
from mount.libfuse.pages import Pages

KEPT = Opened(1, keep_cache=True)


def test_pages_are_kept_from_one_open_of_an_inode_to_the_next() -> None:
    """The first open starts afresh; the second of the same inode keeps what the first has read."""
    pages = Pages()

    first = pages.opened(b"/f", 7, KEPT)
    pages.closed(b"/f", 7)
    second = pages.opened(b"/f", 7, KEPT)

    assert (first, second) == ((False, False), (True, False))


def test_another_inode_at_the_path_starts_afresh() -> None:
    """A replaced file never shows the pages of what was there before."""
    pages = Pages()
    pages.opened(b"/f", 7, KEPT)
    pages.closed(b"/f", 7)

    assert pages.opened(b"/f", 8, KEPT) == (False, False)


def test_two_versions_open_at_once_are_not_mixed() -> None:
    """While an old version is open, the new one goes past the pages that both would share."""
    pages = Pages()
    pages.opened(b"/f", 7, KEPT)

    beside = pages.opened(b"/f", 8, KEPT)
    pages.closed(b"/f", 7)
    pages.closed(b"/f", 8)
    alone = pages.opened(b"/f", 8, KEPT)

    assert (beside, alone) == ((False, True), (True, False))


def test_outdated_data_is_read_anew_by_the_next_open() -> None:
    """After the file system's notice, and after any rename, an open keeps nothing."""
    pages = Pages()
    pages.opened(b"/f", 7, KEPT)

    pages.forget_data(7)
    told = pages.opened(b"/f", 7, KEPT)
    pages.moved()
    moved = pages.opened(b"/f", 7, KEPT)

    assert (told, moved) == ((False, False), (False, False))


def test_a_file_system_that_keeps_nothing_is_obeyed() -> None:
    """Without `keep_cache` no open keeps pages, and `direct` goes past them."""
    pages = Pages()
    pages.opened(b"/f", 7, Opened(1))

    assert pages.opened(b"/f", 7, Opened(2, direct=True)) == (False, True)
