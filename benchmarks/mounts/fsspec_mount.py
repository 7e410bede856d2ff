"""fsspec's own mount over adlfs, as its documentation shows it.

Usage: python -m benchmarks.mounts.fsspec_mount MOUNTPOINT PORT CONTAINER
"""

from __future__ import annotations

import sys

from benchmarks.address import Address


def main(mountpoint: str, port: str, container: str) -> None:
    """Serve until unmounted."""
    from adlfs import AzureBlobFileSystem
    from fsspec.fuse import run

    address = Address(int(port), container)
    system = AzureBlobFileSystem(connection_string=address.connection_string)
    # With threads it mixes up the positions of readers: the files came out with other bytes.
    run(system, f"{container}/", mountpoint, foreground=True, threads=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
