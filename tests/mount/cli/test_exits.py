"""How errors end a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datastores.errors import CredentialMissing, NotRegistered
from datastores.exits import Exit, exit_of
from mount.cli.entry import run
from mount.errors import MountRefused


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (
            NotRegistered("datastore", "a", "here", ["b"]),
            Exit("NotRegistered", 'no datastore "a" in here (registered: "b")', 4),
        ),
        (
            MountRefused("/x", "no device; bring one"),
            Exit("MountRefused", 'cannot mount at "/x": no device; bring one', 25),
        ),
        (ValueError("a defect"), Exit("ValueError", "a defect", 1)),
    ],
)
def test_each_error_has_a_sentence_and_a_code(error: Exception, wanted: Exit) -> None:
    """The class, the sentence and the code; what is not ours is a defect with code 1."""
    assert exit_of(error) == wanted
    assert json.loads(exit_of(error).to_json())["exit_code"] == wanted.exit_code


def test_a_secret_in_a_sentence_is_masked() -> None:
    """Signatures that a library put into its text are not repeated."""
    error = CredentialMissing("a", "https://x.blob.core.windows.net/c?sig=c2VjcmV0c2VjcmV0&se=1")

    assert "c2VjcmV0" not in exit_of(error).message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--json"), "Missing argument 'SPEC'."),
        (("run", "nowhere.json", "--json"), '"nowhere.json" cannot be read'),
        (("status", "--json", "--nowhere"), "--nowhere"),
        (("nothing", "--json"), "No such command 'nothing'"),
    ],
)
def test_wrong_usage_is_json_on_stderr(
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    """With `--json` a mistake is one JSON object with the code, and stdout stays empty."""
    monkeypatch.chdir(tmp_path)

    code = run(arguments)

    out, err = capfd.readouterr()
    told = json.loads(err)
    assert (code, out, told["error"], told["exit_code"]) == (2, "", "UsageError", 2)
    assert said in told["message"]
