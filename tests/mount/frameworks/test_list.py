"""The list in `mount/FRAMEWORKS.md` and the tests say the same."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
LINE = re.compile(r"^\| .+ \| .+ \| `(test_\w+)` \|$", re.MULTILINE)
PLACES = ("tests/mount/frameworks/test_frameworks.py", "tests/mount/posix/test_fio.py")


def test_every_line_has_its_test_and_every_test_its_line() -> None:
    """What the list says works, or does not, is what the tests show, once each."""
    listed = LINE.findall((ROOT / "mount" / "FRAMEWORKS.md").read_text("utf-8"))

    tests = [
        node.name
        for place in PLACES
        for node in ast.parse((ROOT / place).read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]

    assert sorted(listed) == sorted(tests)
