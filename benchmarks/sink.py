"""Where uploads land: whole blobs as files, blocks as files, and lists that make blocks a blob.

The web server writes the bytes; committing only writes down which blocks, in which order, so that
storing costs one copy and a commit costs nothing however large the blob is.
"""

from __future__ import annotations

import base64
import json
import os
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workloads import files_below

_ENTRY = re.compile(r"<(Latest|Uncommitted|Committed)>\s*([^<\s]+)\s*</\1>")


class BlocksMissing(Exception):
    """A list names a block that was never sent."""


@dataclass(frozen=True, slots=True)
class Sink:
    """A folder with `blobs` (final names), `blocks` (by blob and id) and `lists` (what was committed)."""

    folder: Path

    @property
    def blobs(self) -> Path:
        return self.folder / "blobs"

    @property
    def blocks(self) -> Path:
        return self.folder / "blocks"

    @property
    def lists(self) -> Path:
        return self.folder / "lists"

    def prepare(self, container: str) -> None:
        """Make the folders that the web server expects to find."""
        for root in (self.blobs, self.blocks, self.lists):
            (root / container).mkdir(parents=True, exist_ok=True)

    def commit(self, blob: str, body: bytes) -> None:
        """Make the listed blocks the blob; its size shows at its final name at once."""
        pieces = [self._block(blob, found[1]) for found in _ENTRY.findall(body.decode())]
        written = self.lists / blob
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(json.dumps([str(piece) for piece in pieces]))
        final = self.blobs / blob
        final.parent.mkdir(parents=True, exist_ok=True)
        with final.open("wb") as file:
            os.truncate(file.fileno(), sum(piece.stat().st_size for piece in pieces))

    def _block(self, blob: str, block_id: str) -> Path:
        # The web server keeps the id as the client spelt it in the query.
        for spelling in (block_id, urllib.parse.quote(block_id, safe="")):
            path = self.blocks / blob / spelling
            if path.is_file():
                return path
        raise BlocksMissing(f'block "{block_id}" of "{blob}" was never sent')

    def staged(self, blob: str) -> list[tuple[str, int]]:
        """Ids and sizes of the blocks that were sent."""
        found = files_below(self.blocks / blob)
        return [(urllib.parse.unquote(name), path.stat().st_size) for name, path in found.items()]

    def arrived(self, container: str) -> dict[str, list[Path]]:
        """Every blob with the files that hold its bytes, in order."""
        pieces = {name: [path] for name, path in files_below(self.blobs / container).items()}
        for name, path in files_below(self.lists / container).items():
            pieces[name] = [Path(piece) for piece in json.loads(path.read_text())]
        return pieces


def is_block_id(text: str) -> bool:
    """Whether the service would take it as the id of a block."""
    try:
        return 0 < len(base64.b64decode(text, validate=True)) <= 64
    except ValueError:
        return False
