"""Which files of a source folder are sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from datastores.contract.ignoring import files_below, is_left_out, load_rules, parse_rules, stays


@pytest.mark.parametrize(
    ("rules", "name", "is_folder", "expected"),
    [
        ("*.log", "a.log", False, True),
        ("*.log", "deep/er/a.log", False, True),
        ("*.log", "a.log.txt", False, False),
        ("/top.txt", "top.txt", False, True),
        ("/top.txt", "deep/top.txt", False, False),
        ("data/raw", "data/raw", True, True),
        ("data/raw", "more/data/raw", True, False),
        ("build/", "build", True, True),
        ("build/", "build", False, False),
        ("**/cache", "a/b/cache", True, True),
        ("**/cache", "cache", True, True),
        ("a/**/z", "a/z", False, True),
        ("a/**/z", "a/b/c/z", False, True),
        ("logs/**", "logs/x/y", False, True),
        ("logs/**", "logs", True, False),
        ("file?.txt", "file1.txt", False, True),
        ("file?.txt", "file/.txt", False, False),
        ("[ab].py", "a.py", False, True),
        ("[!ab].py", "a.py", False, False),
        ("*.txt\n!keep.txt", "keep.txt", False, False),
        ("!keep.txt\n*.txt", "keep.txt", False, True),
        ("# a.py\n\n", "a.py", False, False),
        ("\\#a", "#a", False, True),
        ("a+b(c)", "a+b(c)", False, True),
        (".", "x", False, False),
    ],
)
def test_rules_mean_what_git_says(rules: str, name: str, is_folder: bool, expected: bool) -> None:
    """The last rule that fits decides."""
    assert stays(parse_rules(rules), name, is_folder=is_folder) is expected


def test_the_first_file_of_rules_counts_and_folders_go_whole(tmp_path: Path) -> None:
    """With `.amlignore` nobody reads `.gitignore`, and nothing inside a left-out folder is kept."""
    for name in ("a.py", "data/x.bin", "data/keep.py", "sub/b.py", "sub/c.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "nowhere").symlink_to("missing")
    (tmp_path / ".gitignore").write_text("*.py\n")
    with_git = list(files_below(tmp_path))

    (tmp_path / ".amlignore").write_text("data/\n!data/keep.py\n*.log\n.*ignore\n")

    assert with_git == [".gitignore", "data/x.bin", "sub/c.log"]
    assert list(files_below(tmp_path)) == ["a.py", "sub/b.py"]


@pytest.mark.parametrize(
    ("rules", "name", "expected"),
    [
        ("*.py", "train.py", True),
        ("src/", "src/deep/train.py", True),
        ("src/\n!src/deep/train.py", "src/deep/train.py", True),
        ("*.log", "src/train.py", False),
        ("*.py\n!train.py", "train.py", False),
    ],
)
def test_a_file_stays_with_its_folder(
    tmp_path: Path, rules: str, name: str, expected: bool
) -> None:
    """What is asked of one name is what a walk over the whole folder finds."""
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    (tmp_path / ".amlignore").write_text(rules)

    assert is_left_out(load_rules(tmp_path), name) is expected
    assert (name not in files_below(tmp_path)) is expected
