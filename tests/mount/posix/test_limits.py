"""What a mount does not do: each line of the list in `mount/POSIX.md` with its answer."""

from __future__ import annotations

from pathlib import Path

from mount.fs.view import MountView
from tests.mount.frameworks.served import Served, container_store, folder_store, served
from tests.mount.posix.conftest import Probe
from tests.servers.azurite import Azurite

PROBE = Probe("tests.mount.posix.limits")


def results(case: str, place: Path) -> list[str]:
    """What the calls came to, without the calls."""
    (notes,) = PROBE.answers(case, place)
    return [note.rpartition(" -> ")[2] for note in notes]


def test_hard_links(container_mount: Served) -> None:
    """link() is refused with EPERM and leaves nothing."""
    assert results("hard_links", container_mount.path) == ["'EPERM'", "['f']"]


def test_extended_attributes(container_mount: Served) -> None:
    """Extended attributes are ENOTSUP; whoever asks for an access control list hears of none."""
    want = [*["'ENOTSUP'"] * 4, "'ENODATA'"]

    assert results("extended_attributes", container_mount.path) == want


def test_devices_pipes_and_sockets(container_mount: Served) -> None:
    """mkfifo, mknod of a device and bind of a socket are EPERM; mknod of a file works."""
    want = ["'EPERM'", "'EPERM'", "'EPERM'", "None", "['file']"]

    assert results("devices_pipes_and_sockets", container_mount.path) == want


def test_files_without_a_name(container_mount: Served) -> None:
    """O_TMPFILE is ENOTSUP, and Python's TemporaryFile makes do without it."""
    assert results("files_without_a_name", container_mount.path) == ["'ENOTSUP'", "1", "[]"]


def test_holes_are_not_punched(container_mount: Served) -> None:
    """fallocate() that keeps the size or punches holes is ENOTSUP and changes nothing."""
    first, second, body = results("holes_punched", container_mount.path)

    assert (first, second, body.startswith("b'xxx")) == ("'ENOTSUP'", "'ENOTSUP'", True)


def test_holes_are_not_found(container_mount: Served) -> None:
    """SEEK_HOLE finds the end of the file only, as if all before it were data."""
    assert results("holes_found", container_mount.path) == ["0", "100003", "'ENXIO'"]


def test_names_are_not_exchanged(container_mount: Served) -> None:
    """RENAME_EXCHANGE and RENAME_WHITEOUT are EINVAL and change nothing."""
    assert results("names_exchanged", container_mount.path) == ["'EINVAL'", "'EINVAL'", "b'1'"]


def test_flags_of_files(container_mount: Served) -> None:
    """ioctl() is ENOTTY, so lsattr shows nothing."""
    assert results("flags_of_files", container_mount.path) == ["'ENOTTY'"]


def test_links_without_metadata(folder_mount: Served) -> None:
    """symlink() is ENOTSUP where the store keeps no metadata."""
    assert results("links_without_metadata", folder_mount.path) == ["'ENOTSUP'", "[]"]


def test_names_no_blob_can_have(container_mount: Served) -> None:
    """Such a folder is refused with ENOTSUP, such a file when it is closed; a rename saves it."""
    got = results("names_no_blob_can_have", container_mount.path)

    assert got == [*["'ENOTSUP'"] * 6, "['saved1', 'saved10', 'saved8']"]


def test_paths_no_blob_can_have(container_mount: Served) -> None:
    """A path too long for a key is ENAMETOOLONG when a name is made, not when it is stored."""
    got = results("paths_no_blob_can_have", container_mount.path)

    assert got == [*["None"] * 4, *["'ENAMETOOLONG'"] * 3, "'ENOENT'", "['m', 'p', 'r', 's']"]


def test_change_under_a_reader(container_mount: Served) -> None:
    """Who has a complete file open keeps its bytes when it is changed; who opens now sees new ones."""
    got = results("change_under_a_reader", container_mount.path)

    assert got == ["b'old content'", "b'new'"]


def test_times_of_reading(container_mount: Served) -> None:
    """The access time is the time of the last change, whatever was set."""
    assert results("times_of_reading", container_mount.path) == ["None", "7"]


def test_times_of_folders(container_mount: Served) -> None:
    """A folder's time stays when something is made in it."""
    assert results("times_of_folders", container_mount.path) == ["True"]


def test_links_of_folders(container_mount: Served) -> None:
    """A folder counts two links, however many folders are in it."""
    assert results("links_of_folders", container_mount.path) == ["2"]


def test_owner_of_a_new_file(container_mount: Served) -> None:
    """On a mount for everybody a new file belongs to who mounted, not to who made it."""
    got = results("owner_of_a_new_file", container_mount.path)

    assert got == ["'-rw-r--r-- 0:0 0 bytes 1 links'", "'EPERM'"]


def test_free_room(container_mount: Served) -> None:
    """The free room is always one pebibyte."""
    assert results("room", container_mount.path) == [str(1 << 50)]


def test_two_mounts_of_one_store(azurite: Azurite, tmp_path: Path) -> None:
    """Locks, modes, and times set after closing do not reach another mount of the store."""
    with (
        container_store(azurite, azurite.container()) as store,
        served(store, tmp_path / "first") as first,
        served(store, tmp_path / "second") as second,
    ):
        (tmp_path / "one").symlink_to(first.path)
        (tmp_path / "two").symlink_to(second.path)
        got = results("two_mounts_of_one_store", tmp_path)

    here = ["None", "'-rwxr-x--x 0:0 1 bytes 1 links'", "True"]
    there = ["None", "'-rw-r--r-- 0:0 1 bytes 1 links'", "False"]
    assert got == ["None", "None", *here, *there]


def test_read_only_mount(tmp_path: Path) -> None:
    """On a read-only mount every change is EROFS, and reading works."""
    with folder_store(tmp_path / "store") as store:
        store.write("read_only/there", b"bytes")
        store.write("read_only/folder/f", b"bytes")
        with served(store, tmp_path / "served", view=MountView(read_only=True)) as mount:
            (tmp_path / "link").symlink_to(mount.path / "read_only")
            (notes,) = PROBE.answers_in("read_only", tmp_path / "link")

    body, *refused, may_write = [note.rpartition(" -> ")[2] for note in notes]
    assert (body, set(refused), may_write) == ("b'bytes'", {"'EROFS'"}, "False")
