"""The arrows of the design: who may import whom, and what an import costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import datastores

ROOT = Path(__file__).parent.parent
PACKAGES = [name for name in ("datastores", "mount") if (ROOT / name).is_dir()]

# A part may import itself and what stands in its set; whoever wants a new arrow says why here.
WORDS = {"errors", "exits", "secret", "names", "keys", "endpoints", "text", "value"}
ARROWS: dict[str, set[str]] = {
    **dict.fromkeys(WORDS, WORDS),
    "definitions": WORDS,
    "references": WORDS,
    "credentials": WORDS | {"definitions"},
    "storage": WORDS | {"definitions", "credentials"},
    # The engine knows the contract of stores and no store.
    "transfer": WORDS | {"storage.contract", "storage.verbs"},
    "filesystem": WORDS | {"definitions", "credentials", "storage"},
    "registry": WORDS | {"definitions", "credentials"},
    # The one thing both planes share.
    "contract": WORDS | {"definitions", "credentials.kinds"},
    "runs": WORDS | {"definitions", "references", "credentials", "contract", "catalog"},
    "catalog": WORDS
    | {
        "definitions",
        "references",
        "credentials",
        "storage",
        "transfer",
        "filesystem",
        "registry",
        # For `workspace.experiments` and `workspace.models`.
        "history.experiment",
        "history.model",
    },
    # What runs did: records over the registry, and the objects that people hold.
    "history": WORDS
    | {
        "definitions",
        "references",
        "contract.ignoring",
        "storage",
        "transfer",
        "registry",
        "catalog",
        "runs",
        "submission",
    },
    # From a configuration to a finished run: plans, starts the agent, writes the history.
    "submission": WORDS
    | {
        "definitions",
        "references",
        "credentials",
        "contract",
        "storage",
        "transfer",
        "registry",
        "catalog",
        "runs",
        "history",
    },
    "cli": WORDS
    | {
        "definitions",
        "credentials",
        "contract",
        "storage",
        "transfer",
        "registry",
        "catalog",
        "references",
        "runs",
        "history",
        "submission",
    },
    # The root exports the public names lazily.
    "__init__": WORDS | {"references", "catalog", "runs", "history", "submission"},
    "__main__": {"cli"},
}
# What a compute node may know of the control plane: pure values, and the engines it shares.
MOUNT_MAY_IMPORT = WORDS | {
    "definitions",
    "references",
    "credentials.kinds",
    "contract",
    "storage",
    "transfer",
}


def test_every_import_follows_an_arrow() -> None:
    """No module of the control plane imports upwards, not even inside a function."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for path, part in _modules("datastores")
        for line, target in _imports(path)
        if target.startswith("datastores.")
        and not _allowed(target.removeprefix("datastores."), {part} | ARROWS.get(part, set()))
    ]

    assert wrong == []


def test_control_plane_never_imports_compute_plane() -> None:
    """Nothing in `datastores` imports `mount`."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path, _ in _modules("datastores")
        for line, target in _imports(path)
        if target.split(".")[0] == "mount"
    ]

    assert wrong == []


def test_compute_plane_sees_only_the_shared_parts() -> None:
    """`mount` imports `datastores` only through its words, `contract`, `storage`, `transfer`."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for path, _ in _modules("mount")
        for line, target in _imports(path)
        if target.startswith("datastores.")
        and not _allowed(target.removeprefix("datastores."), MOUNT_MAY_IMPORT)
    ]

    assert wrong == []


def test_every_part_has_its_arrows() -> None:
    """A new folder or root file of `datastores` says here what it may import."""
    parts = {part for _, part in _modules("datastores")}

    assert parts <= set(ARROWS), "name its arrows in ARROWS"


def test_exports_are_sorted_complete_and_real() -> None:
    """Every public name can be imported, and the list is sorted."""
    assert datastores.__all__ == sorted(datastores.__all__)
    assert set(datastores.__all__) == set(datastores._HOMES)
    assert all(getattr(datastores, name).__name__ == name for name in datastores.__all__)


@pytest.mark.parametrize(
    "statement", ["import datastores", "from datastores import DataReference, Secret"]
)
def test_import_is_light(statement: str) -> None:
    """Importing the package loads no third-party module at all."""
    code = (
        f"import sys; before = set(sys.modules); {statement}; import json; "
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before})))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    loaded = set(json.loads(answer.stdout))
    assert loaded - set(sys.stdlib_module_names) == {"datastores"}


def test_import_is_fast() -> None:
    """`import datastores` takes 150 ms at most, interpreter start not counted (best of five)."""
    code = (
        "import time; begin = time.perf_counter(); import datastores; "
        "print(time.perf_counter() - begin)"
    )
    seconds = [
        float(subprocess.check_output([sys.executable, "-c", code], timeout=60)) for _ in range(5)
    ]

    assert min(seconds) <= 0.150


def test_the_catalog_loads_no_heavy_library_before_it_is_used() -> None:
    """Reaching for `Workspace` and `Datastore` loads no SQLAlchemy, pandas or storage client."""
    code = "import datastores, sys; datastores.Workspace; datastores.Datastore; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60).split()

    heavy = {"sqlalchemy", "pandas", "pyarrow", "azure", "adlfs", "urllib3", "fsspec", "requests"}
    assert {name.split(".")[0] for name in loaded} & heavy == set()


def _modules(package: str) -> Iterator[tuple[Path, str]]:
    if package not in PACKAGES:
        return
    for path in sorted((ROOT / package).rglob("*.py")):
        inside = path.relative_to(ROOT / package)
        yield path, inside.parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _allowed(target: str, allowed: set[str]) -> bool:
    parts = target.split(".")
    return any(".".join(parts[: len(one.split("."))]) == one for one in allowed) or any(
        one.startswith(target + ".") for one in allowed
    )
