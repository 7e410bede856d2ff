"""How a request reaches the service."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

from datastores.value import Value

if TYPE_CHECKING:
    from typing_extensions import Buffer

    Pieces: TypeAlias = Generator[Buffer, None, None]

# Larger pieces take fresh pages from the kernel for every piece, and clearing those costs more
# than the calls that small pieces add. CPU per MiB of a 512 MiB object: pieces of 64 to 256 KiB
# 0.57 ms, 1 MiB 0.82 ms, 8 MiB 1.02 ms, 16 MiB 1.11 ms.
PIECE_BYTES = 256 * 1024


class Answer(Value):
    """What the service said, yes or no; the body is still on its way.

    Names of headers are in lower case. Close `pieces`, or read them to their end.
    """

    status: int
    headers: Mapping[str, str]
    pieces: Pieces


class Carrier(Protocol):
    """One way to the service; a request is made once, retrying is for the caller."""

    def exchange(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: Buffer | None,
    ) -> Answer:
        """The service's answer; what came in between is an error of ours."""

    def close(self) -> None:
        """Let go of connections."""

    def renew(self) -> None:
        """In a forked child: connections are its parent's, who goes on using them."""
