"""Where on the compute each reference appears; the same path whatever its mode."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Protocol

from datastores.contract.job import folder_name
from datastores.definitions import Definition
from datastores.errors import DefinitionRejected
from datastores.keys import parse_place

# Spellings by which configurations say "nothing said".
_UNSAID = (None, "", "/", ".", "./")


class Placed(Protocol):
    """A reference, as far as its path goes."""

    @property
    def name(self) -> str: ...
    @property
    def definition(self) -> Definition: ...
    @property
    def place(self) -> str: ...
    @property
    def path_on_compute(self) -> str | None: ...


def lay_out(
    references: Iterable[Placed], working: PurePosixPath, *, absolute_paths: bool = False
) -> dict[str, PurePosixPath]:
    """The absolute path of each reference by its name; no path is inside another.

    `path_on_compute` is the path of the thing itself, from the working folder. Without one it is
    `<datastore>/<place>`, or `<reference>/<place>` where the first would meet another reference.
    """
    wanted = list(references)
    taken: dict[str, PurePosixPath] = {}
    for one in wanted:
        if one.path_on_compute not in _UNSAID:
            path = _explicit(one, working, absolute_paths=absolute_paths)
            _take(taken, one.name, [path])
    # Roots first: what lies below one can still go elsewhere, the root cannot.
    for one in sorted((one for one in wanted if one.path_on_compute in _UNSAID), key=_depth):
        places = [str(one.definition.name), folder_name(one.name)]
        below = parse_place(one.place)
        _take(taken, one.name, [working / place / below for place in places])
    return {one.name: taken[one.name] for one in wanted}


def _explicit(one: Placed, working: PurePosixPath, *, absolute_paths: bool) -> PurePosixPath:
    text = one.path_on_compute or ""
    if "\0" in text:
        raise DefinitionRejected(one.name, "its path_on_compute holds a NUL character; remove it")
    given = PurePosixPath(text)
    if given.is_absolute() and not absolute_paths:
        raise DefinitionRejected(
            one.name,
            f'path_on_compute "{text}" is absolute; give one relative to the working folder, '
            f"or allow absolute paths",
        )
    parts: list[str] = []
    for part in given.relative_to("/").parts if given.is_absolute() else given.parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            raise DefinitionRejected(
                one.name, f'path_on_compute "{text}" leaves the working folder; stay inside it'
            )
    if not parts:
        raise DefinitionRejected(
            one.name, f'path_on_compute "{text}" is the whole folder; name something inside it'
        )
    return (PurePosixPath("/") if given.is_absolute() else working).joinpath(*parts)


def _take(taken: dict[str, PurePosixPath], name: str, choices: list[PurePosixPath]) -> None:
    if name in taken:
        raise DefinitionRejected(name, "two references have this name; rename one")
    rivals = [_rival(path, taken) for path in choices]
    for path, rival in zip(choices, rivals, strict=True):
        if rival is None:
            taken[name] = path
            return
    raise DefinitionRejected(
        name,
        f'its path "{choices[0]}" and that of "{rivals[0]}", "{taken[rivals[0] or name]}", '
        f"are one inside the other; give one of them another path_on_compute",
    )


def _rival(path: PurePosixPath, taken: dict[str, PurePosixPath]) -> str | None:
    for name, other in taken.items():
        if path == other or path in other.parents or other in path.parents:
            return name
    return None


def _depth(one: Placed) -> tuple[int, bool]:
    return len(PurePosixPath(one.place).parts), one.name != one.definition.name
