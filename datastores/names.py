"""Names of workspaces and datastores, parsed once at the edge."""

from __future__ import annotations

import logging
import re
from typing import ClassVar, Self

from datastores.errors import NameRejected

log = logging.getLogger(__name__)

_RULE = re.compile(r"[a-z0-9_-]{3,255}\Z")


class _Name(str):
    """A text that follows the rule: lower case, `[a-z0-9_-]`, 3 to 255 characters."""

    __slots__ = ()
    noun: ClassVar[str]

    @classmethod
    def parse(cls, text: object) -> Self:
        """The name in its one spelling; capitals are lowered with a warning."""
        if isinstance(text, cls):
            return text
        if not isinstance(text, str):
            raise NameRejected(cls.noun, repr(text), "a name is a text")
        lowered = text.lower()
        if not _RULE.match(lowered):
            raise NameRejected(cls.noun, text, "use 3 to 255 of the characters a-z, 0-9, _ and -")
        if lowered != text:
            log.warning(
                '%s names have no capitals: "%s" is stored as "%s"', cls.noun, text, lowered
            )
        return cls(lowered)


class DatastoreName(_Name):
    """What a datastore is called in its workspace."""

    __slots__ = ()
    noun = "datastore"


class WorkspaceName(_Name):
    """What a workspace is called in its registry."""

    __slots__ = ()
    noun = "workspace"
