"""The lists in `mount/POSIX.md` and the tests say the same."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

from tests.mount.posix.test_posix import CASES, cases

ROOT = Path(__file__).parents[3]
LIMIT = re.compile(r"^\| .+ \| .+ \| .+ \| `(test_\w+)` \|$", re.MULTILINE)
SAME = re.compile(r"^- (.+) \(`(\w+)\.(\w+)`\)$", re.MULTILINE)


def listed() -> str:
    return (ROOT / "mount" / "POSIX.md").read_text("utf-8")


def test_what_is_the_same_is_listed() -> None:
    """Each case stands in the list with its own sentence, and nothing else does."""
    sentences = {
        (module, name): inspect.getdoc(getattr(importlib.import_module(f"{CASES}.{module}"), name))
        for module, name in cases()
    }

    assert {(module, name): said for said, module, name in SAME.findall(listed())} == sentences


def test_what_differs_is_listed() -> None:
    """Each limit has its test and each test of a limit its line."""
    text = (ROOT / "tests" / "mount" / "posix" / "test_limits.py").read_text("utf-8")
    tests = [
        node.name
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]

    assert sorted(LIMIT.findall(listed())) == sorted(tests)
