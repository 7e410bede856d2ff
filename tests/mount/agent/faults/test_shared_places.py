"""Two outputs that go to one place: refused where it can be seen, else nothing is overwritten."""

from __future__ import annotations

import pytest

from datastores.contract import OutputMode
from tests.mount.agent.jobs import Bench


@pytest.mark.parametrize("mode", OutputMode)
def test_two_folders_in_one_place(bench: Bench, mode: OutputMode) -> None:
    """Outputs that are folders of one place are refused before anything is fetched, by name."""
    bench.script("print('started')")
    outputs = (
        bench.output("model", "runs/1"),
        bench.output(
            "logs", "runs/1", mode=mode, path_on_compute="l" if mode.value == "mount" else None
        ),
    )

    ended = bench.start(bench.spec(outputs=outputs)).end()

    assert (ended.code, ended.out) == (21, b"")
    assert 'outputs "model" and "logs" both go to "runs/1" in "images"' in ended.err
    assert not bench.run.exists()


def test_two_files_in_one_place(bench: Bench) -> None:
    """Single files of different names share a place, each with its own manifest."""
    bench.script("open('m.pkl', 'w').write('model'); open('s.json', 'w').write('{}')")
    outputs = (
        bench.output("model", "runs/1", path_on_compute="m.pkl"),
        bench.output("scores", "runs/1", path_on_compute="s.json"),
    )

    ended = bench.start(bench.spec(outputs=outputs)).end()

    assert ended.code == 0, ended.err
    stored = bench.stored()
    assert {name: stored[name] for name in ("m.pkl", "s.json")} == {
        "m.pkl": "model",
        "s.json": "{}",
    }
    assert sorted(stored) == [
        "m.pkl",
        "m.pkl._manifest.json",
        "s.json",
        "s.json._manifest.json",
    ]


def test_two_outputs_with_one_object(bench: Bench) -> None:
    """Also with overwrite the second output of one object fails by name, and the first one stays."""
    bench.script("""
        import os
        for folder in ("a", "b"):
            os.mkdir(folder)
            open(folder + "/x", "w").write(folder)
    """)
    outputs = tuple(
        bench.output(name, "runs/1", path_on_compute=name, overwrite=True) for name in ("a", "b")
    )

    ended = bench.start(bench.spec(outputs=outputs)).end()

    assert ended.code == 23
    assert (
        ended.err.count("of this run writes it as well; give each output a place of its own") == 1
    )
    (failed,) = [one for one in bench.report()["outputs"] if one["state"] == "failed"]
    other = "b" if failed["name"] == "a" else "a"
    assert bench.stored() == {"x": other}
    assert (bench.run / "work" / failed["name"] / "x").read_text() == failed["name"]
