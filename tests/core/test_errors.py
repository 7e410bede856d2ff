"""The tree of errors keeps its promises: an exit code, a kind, facts, one sentence."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from datastores import errors
from datastores.errors import DatastoresError, TransferFailed

EXAMPLES: list[DatastoresError] = [
    errors.NameRejected("datastore", "x", "use more letters"),
    errors.DefinitionRejected("images", "give one credential"),
    errors.ConfigRejected("/c.json", "correct it"),
    errors.NotRegistered("datastore", "imgs", 'workspace "vision"', ["archive", "labels"]),
    errors.AlreadyRegistered("datastore", "images", 'workspace "vision"', "pass overwrite=True"),
    errors.RegistryBusy("/r.db", "try again"),
    errors.RegistryReadOnly("/r.db", "ask for write access"),
    errors.RegistryTooNew("/r.db", "upgrade"),
    errors.RegistryUnreachable("/r.db", "start the server"),
    errors.VaultLocked("/r.db", "chmod 600"),
    errors.CredentialMissing("images", "provide one"),
    errors.CredentialExpired("images", datetime(2026, 1, 2, tzinfo=UTC), "renew it"),
    errors.CredentialRefused("images", "provide the right one"),
    errors.NotFound("images", "a.png", "check the name"),
    errors.AlreadyExists("images", "a.png", "ask for overwrite"),
    errors.PreconditionFailed("images", "a.png", "read again"),
    errors.PermissionDenied("images", "a.png", "ask for it"),
    errors.Unsupported("images", None, "use another"),
    errors.Corrupted("images", "a.png", "fetch again"),
    errors.DiskFull("images", "a.png", "free some space"),
    errors.Unavailable("images", None, "host x", 3.0),
    TransferFailed(3, [("a", ValueError("b"))]),
    errors.RunRefused("cats_1", "is Completed; start another run"),
    errors.RunFailed("cats_1", "failed: it broke; look at its logs"),
    errors.WireError("upgrade this side"),
]


def test_every_leaf_of_the_tree_has_an_example() -> None:
    """No error is left out of these tests."""
    tree = set(_tree(DatastoresError))
    leaves = tree - {parent for kind in tree for parent in kind.__bases__}

    assert {type(example) for example in EXAMPLES} == leaves


def test_the_drawing_is_the_tree() -> None:
    """The tree drawn at the top of the module names every class, and none that is not there."""
    drawn = {line.split()[0] for line in (errors.__doc__ or "").splitlines()[2:] if line.strip()}

    assert drawn == {kind.__name__ for kind in _tree(DatastoresError)}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_a_process_border(error: DatastoresError) -> None:
    """An error that was pickled has the same kind, sentence, facts, exit code and Python parent."""
    back = pickle.loads(pickle.dumps(error))

    assert (type(back), str(back), back.message) == (type(error), str(error), str(error))
    assert {key for key in back.__dict__ if key != "failures"} == {
        key for key in error.__dict__ if key != "failures"
    }


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_sentences_have_the_form(error: DatastoresError) -> None:
    """A sentence starts in lower case, a number or a quote, and has no full stop at its end."""
    text = str(error)

    assert text == text.strip()
    assert not text.endswith(".")
    assert not text[0].isupper()
    assert 2 < type(error).exit_code < 19


def test_python_idioms_catch_our_errors() -> None:
    """Code written for files, look-ups and values catches ours without knowing them."""
    assert isinstance(errors.NotFound("s", "k"), FileNotFoundError)
    assert isinstance(errors.AlreadyExists("s", "k"), FileExistsError)
    assert isinstance(errors.PermissionDenied("s", "k"), PermissionError)
    assert isinstance(EXAMPLES[3], LookupError)
    assert isinstance(EXAMPLES[0], ValueError)


def test_only_waiting_errors_are_temporary() -> None:
    """Exactly the errors that waiting may cure say so."""
    temporary = {type(example).__name__ for example in EXAMPLES if example.temporary}

    assert temporary == {"RegistryBusy", "RegistryUnreachable", "Unavailable"}


def test_unknown_names_list_the_known_ones() -> None:
    """The sentence for a wrong name ends with the right ones, a dozen at most."""
    many = errors.NotRegistered("datastore", "x", "here", [f"store{i}" for i in range(14)])

    assert str(EXAMPLES[3]) == (
        'no datastore "imgs" in workspace "vision" (registered: "archive", "labels")'
    )
    assert str(many).endswith('"store11" and 2 more)')


def _tree(kind: type[DatastoresError]) -> Iterator[type[DatastoresError]]:
    if inspect.getmodule(kind) is errors:
        yield kind
        for child in kind.__subclasses__():
            yield from _tree(child)


def test_names_in_errors_are_harmless_to_a_terminal() -> None:
    """Escape sequences and broken encodings in other people's names show as escapes."""
    lost = errors.NotFound("images", "a\x1b[2Jb\udcff\u202e")
    failed = TransferFailed(0, [("x\ny", lost)])

    assert str(lost).startswith('"a\\x1b[2Jb\\udcff\\u202e" ')
    assert str(failed).splitlines()[1] == f"  x\\ny: {lost}"
    assert lost.key == "a\x1b[2Jb\udcff\u202e"
