"""Decisions about the protocol that need no kernel."""

from __future__ import annotations

import errno
import struct

import pytest

from datastores import errors
from mount.cache.contract import NoRoom
from mount.fs.contract import Access, Attributes, Child, Entry, Kind, Opened
from mount.fs.errno import errno_for, is_expected
from mount.fuse import layouts
from mount.fuse.answers import Answers, lookups_in
from mount.fuse.layouts import Init
from mount.fuse.negotiation import agree, init_reply
from mount.fuse.options import MountOptions
from mount.fuse.passthrough import INODE_MASK, Passthrough


def test_an_old_kernel_is_refused() -> None:
    """A kernel without large requests (before 7.28) is not served."""
    old, enough = (struct.pack("=IIIIQ", 7, minor, 1 << 17, 0, 0) for minor in (27, 28))

    assert agree(memoryview(old), MountOptions()) is None
    agreed = agree(memoryview(enough), MountOptions())
    assert agreed is not None
    assert (agreed.minor, agreed.flags, agreed.passthrough) == (28, Init(0), False)


def test_only_what_both_can_is_agreed() -> None:
    """Abilities in the second word count only where the kernel says that it has one."""
    without = struct.pack("=IIIIIQ", 7, 35, 1 << 17, 0xFFFFFFFF & ~Init.INIT_EXT, 0xFFFFFFFF, 0)
    with_it = struct.pack("=IIIIIQ", 7, 99, 1 << 17, 0xFFFFFFFF, 0xFFFFFFFF, 0)

    old, new = (agree(memoryview(body), MountOptions()) for body in (without, with_it))

    assert old is not None
    assert new is not None
    assert (old.passthrough, old.resend, old.minor) == (False, False, 35)
    assert (new.passthrough, new.resend, new.minor) == (True, True, layouts.MINOR)


def test_the_answer_to_init_has_its_numbers_in_place() -> None:
    """Request size, stack depth and both words of flags stand where the kernel looks for them."""
    body = struct.pack("=IIIIIQ", 7, 45, 1 << 17, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    agreement = agree(memoryview(body), MountOptions())
    assert agreement is not None

    reply = init_reply(agreement)

    assert len(reply) == 64
    assert struct.unpack_from("=II", reply, 0) == (7, 45)
    assert struct.unpack_from("=I", reply, 20) == (1 << 20,)  # max_write
    assert struct.unpack_from("=H", reply, 28) == (256,)  # max_pages
    low, high = struct.unpack_from("=I", reply, 12)[0], struct.unpack_from("=I", reply, 32)[0]
    assert low | high << 32 == agreement.flags
    assert struct.unpack_from("=I", reply, 36) == (2,)  # max_stack_depth


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (errors.NotFound("s", "k"), errno.ENOENT),
        (errors.AlreadyExists("s", "k"), errno.EEXIST),
        (errors.PreconditionFailed("s", "k"), errno.ESTALE),
        (errors.PermissionDenied("s", "k"), errno.EACCES),
        (errors.CredentialExpired("s", None, "renew it"), errno.EKEYEXPIRED),
        (errors.Unsupported("s", "k"), errno.ENOTSUP),
        (errors.NameRejected("file", "a\n", "no line breaks"), errno.EINVAL),
        (errors.Unavailable("s", "k"), errno.EIO),
        (errors.WireError("version"), errno.EIO),
        (NoRoom(), errno.ENOSPC),
        (OSError(errno.ENOTEMPTY, "full"), errno.ENOTEMPTY),
        (FileNotFoundError("without a number"), errno.ENOENT),
        (TimeoutError("without a number"), errno.EIO),
    ],
)
def test_every_error_has_its_number(error: Exception, number: int) -> None:
    """An error that somebody foresaw has the number of its closest named ancestor."""
    assert (errno_for(error), is_expected(error)) == (number, True)


def test_a_defect_is_told_apart() -> None:
    """What nobody foresaw is EIO, and known as a defect."""
    assert (errno_for(KeyError("x")), is_expected(KeyError("x"))) == (errno.EIO, False)


def test_a_listing_names_its_lookups() -> None:
    """The lookups of a listing can be read back from its bytes: none for the dots and strangers."""
    attributes = Attributes(7, Kind.FILE, 1, 0o644, 0, 0, 0, 0)
    entry = Entry(attributes, 1.5, float("inf"))
    children = [
        Child(b".", 1, Kind.FOLDER, -1, entry),
        Child(b"known", 7, Kind.FILE, 1, entry),
        Child(b"unknown", 8, Kind.FILE, 2),
        Child(b"too long to fit" * 10, 9, Kind.FILE, 3, entry),
    ]
    answers = Answers(0, lambda inode: inode)

    listing, counted = answers.folder_with_entries(children, 600)

    assert ([child.name for child in counted], lookups_in(listing)) == ([b"known"], {7: 1})
    assert len(listing) <= 600


def test_lifetimes_reach_the_kernel_in_whole_and_nanoseconds() -> None:
    """A second and a half is 1 s and 500,000,000 ns; for ever is a number that the kernel takes."""
    attributes = Attributes(7, Kind.FILE, 1, 0o644, 0, 0, 0, 0)

    packed = Answers(0, lambda inode: inode).entry(Entry(attributes, 1.5, float("inf")))

    assert layouts.ENTRY_OUT.unpack(packed)[2:6] == (1, 1 << 30, 500_000_000, 0)


def test_a_cached_node_takes_every_handle() -> None:
    """Readers and writers of a cached node are all admitted; it is free with the last of them."""
    modes = Passthrough(-1, None, enabled=False)
    handles = [(1, Access.READ), (2, Access.WRITE), (3, Access.READ | Access.WRITE)]

    admitted = [modes.admit(5, Opened(handle), access) for handle, access in handles]
    for handle, _ in handles:
        assert modes.holds(5, handle)
        modes.release(5, handle)
        modes.release(5, handle)

    assert [one is not None for one in admitted] == [True, True, True]
    assert (modes.modes(), modes.node_for(5), 5 & INODE_MASK) == ({}, 5, 5)
