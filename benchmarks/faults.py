"""Requests that fail: which ones is decided by a seed, so that every peer meets the same fate."""

from __future__ import annotations

from dataclasses import dataclass

_BUSY = (
    '<?xml version="1.0" encoding="utf-8"?><Error><Code>ServerBusy</Code>'
    "<Message>The server is busy.</Message></Error>"
)


@dataclass(frozen=True, slots=True)
class Faults:
    """A share of requests answered with 503 ServerBusy before a byte of them is looked at.

    Fate hangs on the seed, the number of the connection and the number of the request on it, both
    of which start again with every run: the same requests fail for whoever asks in the same order,
    and a request that is repeated is a new request.
    """

    percent: float = 0.0
    seed: int = 1

    def render(self) -> str:
        """Directives that set `$doomed` to 1 for requests that must fail."""
        if not self.percent:
            return "map $connection $doomed { default 0; }"
        return (
            f'split_clients "{self.seed}/$connection/$connection_requests" $doomed '
            f"{{ {self.percent}% 1; * 0; }}"
        )

    @staticmethod
    def render_answer() -> str:
        """Directives of the place where requests fail."""
        return (
            "more_set_headers 'x-ms-error-code: ServerBusy' 'Content-Type: application/xml'; "
            f"return 503 '{_BUSY}';"
        )
