"""YAML as Azure ML's tools write it: version 1.2, order kept, None as an empty value."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from datastores.errors import ConfigRejected

if TYPE_CHECKING:
    import yaml  # type: ignore[import-untyped, unused-ignore]  # stubs may be there or not

# PyYAML reads 1.1, where `on` is true and `1:30` is ninety; the files at hand are 1.2.
_CORE = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ("merge", r"<<", "<"),
)


def load_yaml(text: str, file: str) -> Any:
    """The values of a YAML text; a mistake is refused with its line and column."""
    import yaml

    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506 - derived from the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigRejected(file, f"{where}{error.problem}; correct it") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "too deep"
        raise ConfigRejected(file, f"it is not YAML ({reason}); correct it") from error


def dump_yaml(values: Any) -> str:
    """The YAML text of plain values."""
    import yaml

    text: str = yaml.dump(
        values, Dumper=_dumper(), sort_keys=False, default_flow_style=False, allow_unicode=True
    )
    return text


def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc, unused-ignore]  # untyped without stubs
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own table

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            seen: set[str] = set()
            for name, _ in node.value:
                if name.value in seen and isinstance(name.value, str):
                    raise yaml.constructor.ConstructorError(
                        None, None, f'the key "{name.value}" is there twice', name.start_mark
                    )
                if isinstance(name.value, str):
                    seen.add(name.value)
            found: dict[Hashable, Any] = super().construct_mapping(node, deep)
            return found

    for tag, pattern, first in _CORE:
        firsts = ["" if mark == "\0" else mark for mark in first]
        Loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})\\Z"), firsts
        )
    Loader.add_constructor("tag:yaml.org,2002:int", _int)
    Loader.add_constructor("tag:yaml.org,2002:float", _float)
    return Loader


def _int(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    # 010 is ten in 1.2; only the two prefixes change the base.
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float(loader: Any, node: Any) -> float:
    return float(loader.construct_scalar(node))


def _dumper() -> type[yaml.SafeDumper]:
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc, unused-ignore]  # untyped without stubs
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
            return True

    # A text is quoted if either version would take it for something else.
    for tag, pattern, first in _CORE[:4]:
        firsts = ["" if mark == "\0" else mark for mark in first]
        Dumper.add_implicit_resolver(
            f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})\\Z"), firsts
        )
    Dumper.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "")
    )
    Dumper.add_representer(str, _represent_text)
    return Dumper


def _represent_text(dumper: Any, text: str) -> Any:
    # PyYAML 6 folds these line ends into spaces unless they are escaped.
    is_odd = any(mark in text for mark in "\x85\u2028\u2029")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if is_odd else None)
