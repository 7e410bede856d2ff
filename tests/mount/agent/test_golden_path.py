"""References become paths, the script runs, its results are in the store."""

from __future__ import annotations

import json
import stat
import sys
from hashlib import md5

from datastores.contract import Command, InputMode, OutputMode, When
from tests.mount.agent.jobs import Bench

_COPY = """
    import os, pathlib, sys
    here = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_train"])
    out = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_model"])
    for path in sorted(here.rglob("*.txt")):
        (out / path.name).write_text(path.read_text().upper())
    (out / "labels").write_text(open(sys.argv[1]).read())
"""


def test_two_downloads_and_an_upload(bench: Bench) -> None:
    """A script reads what was downloaded, and all it wrote is in the store with a manifest."""
    bench.script(_COPY)

    ended = bench.start(bench.spec("$AZUREML_DATAREFERENCE_labels")).end()

    assert (ended.code, bench.stored()) == (
        0,
        {"a.txt": "ALPHA", "b.txt": "BETA", "labels": "a,b"},
    )
    manifest = bench.manifest("runs/1")
    assert [manifest[key] for key in ("version", "run_id", "experiment", "output", "bytes")] == [
        1,
        "run_1",
        "cats",
        "model",
        12,
    ]
    assert manifest["files"] == [
        {"name": name, "size": len(text), "md5": md5(text.encode()).hexdigest()}
        for name, text in bench.stored().items()
    ]


def test_the_report_says_what_happened(bench: Bench) -> None:
    """The report counts files and bytes, times each phase, and names what each reference became."""
    bench.script(_COPY)

    ended = bench.start(bench.spec("$AZUREML_DATAREFERENCE_labels"), "--json").end()

    report = json.loads(ended.out)
    assert report == bench.report()
    assert (report["run_id"], report["status"], report["exit_code"]) == ("run_1", "Completed", 0)
    assert set(report["phases"]) == {"staging", "running", "flushing", "sealing"}
    assert [
        (one["name"], one["how"], one["state"], one["files"], one["bytes"])
        for one in (*report["inputs"], *report["outputs"])
    ] == [
        ("train", "download", "ready", 2, 9),
        ("labels", "download", "ready", 1, 3),
        ("model", "upload", "complete", 3, 12),
    ]


def test_the_path_is_the_same_whatever_the_mode(bench: Bench) -> None:
    """Mount and download give one path; where nothing can be mounted, one warning says why."""
    bench.script("import os; print(os.environ['AZUREML_DATAREFERENCE_train'])")
    downloaded = bench.start(bench.spec()).end()
    spec = bench.spec(
        inputs=(
            bench.input("train", "train", mode=InputMode.MOUNT),
            bench.input("labels", "labels.csv", mode=InputMode.MOUNT),
        ),
        outputs=(bench.output("model", "runs/1", mode=OutputMode.MOUNT),),
    )

    elsewhere = str(bench.root / "second")
    mounted = bench.start(spec, "--folder", elsewhere, can_mount=False).end()

    first, second = downloaded.out.decode(), mounted.out.decode()
    assert second == first.replace(str(bench.run), str(bench.root / "second"))
    assert mounted.err.count("mounting is not possible here") == 1
    assert '"train", "labels", "model"' in mounted.err


def test_a_mount_that_may_not_fall_back_is_refused(bench: Bench) -> None:
    """With `--mount-fallback error` a job with a mount ends with code 25, before any fetch."""
    bench.script("")
    spec = bench.spec(inputs=(bench.input("train", "train", mode=InputMode.MOUNT),))

    ended = bench.start(spec, "--mount-fallback", "error", can_mount=False).end()

    assert ended.code == 25
    assert 'error: cannot mount at "train"' in ended.err
    assert list((bench.run / "work").iterdir()) == []


def test_arguments_and_variables_are_substituted(bench: Bench) -> None:
    """`$AZUREML_DATAREFERENCE_x` becomes a path in arguments, in values, and for any program."""
    work = bench.run / "work"
    spec = bench.spec(
        work=Command(("/bin/echo", "--data=${AZUREML_DATAREFERENCE_train}/cats", "$HOME")),
    )

    ended = bench.start(spec).end()

    assert ended.out.decode() == f"--data={work}/images/train/cats $HOME\n"


def test_a_shell_command_has_the_environment(bench: Bench) -> None:
    """A shell command finds paths, run id and the spec's own variables in its environment."""
    spec = bench.spec(
        work=Command(
            shell='echo "$AZUREML_RUN_ID $WHERE $(cat $AZUREML_DATAREFERENCE_labels)"; pwd'
        ),
        environment={"WHERE": "at $AZUREML_DATAREFERENCE_train"},
    )

    ended = bench.start(spec).end()

    work = bench.run / "work"
    assert ended.out.decode() == f"run_1 at {work}/images/train a,b\n{work}\n"


def test_path_on_compute_is_honoured_in_every_mode(bench: Bench) -> None:
    """A chosen path is where a folder, a file and a result are, whatever they are called."""
    bench.script("import shutil; shutil.copy('in/labels', 'out/bar.pkl')")
    spec = bench.spec(
        inputs=(
            bench.input("train", "train", path_on_compute="in/train"),
            bench.input("labels", "labels.csv", path_on_compute="./in/labels"),
        ),
        outputs=(bench.output("model", "", path_on_compute="./out/bar.pkl"),),
    )

    ended = bench.start(spec).end()

    assert ended.code == 0
    assert (bench.store / "bar.pkl").read_text() == "a,b"
    assert (bench.store / "bar.pkl._manifest.json").exists()
    assert (bench.run / "work/in/train/cats/b.txt").read_text() == "beta"


def test_the_whole_store_can_be_an_input(bench: Bench) -> None:
    """A reference without a path is everything in the datastore."""
    bench.script("import os, sys; print(sorted(os.listdir(sys.argv[1])))")
    spec = bench.spec(
        "$AZUREML_DATAREFERENCE_images", inputs=(bench.input("images", ""),), outputs=()
    )

    assert bench.start(spec).end().out == b"['labels.csv', 'train']\n"


def test_the_source_is_copied_without_the_runs_inside_it(bench: Bench) -> None:
    """Programs of the source keep their permission to run, and a run below it is not copied."""
    (bench.source / "go.sh").write_text("#!/bin/sh\nls\n")
    (bench.source / "go.sh").chmod(stat.S_IRWXU)
    inside = Bench(bench.source)
    spec = bench.shell("./go.sh", source=bench.spec().source)

    ended = bench.start(spec, "--folder", str(inside.root / "runs" / "1")).end()

    assert ended.out == b"go.sh\n"


def test_the_script_runs_with_the_agents_python(bench: Bench) -> None:
    """An entry script has the agent's interpreter, and a group of its own."""
    bench.script("import os, sys; print(sys.executable, os.getpgrp() == os.getpid())")

    ended = bench.start(bench.spec(inputs=(), outputs=())).end()

    assert ended.out.decode() == f"{sys.executable} True\n"


def test_an_output_kept_on_success_is_not_kept_on_failure(bench: Bench) -> None:
    """After a failure what is kept always is in the store without a manifest, the other is not."""
    bench.script("""
        import os, sys
        for name in ("model", "logs"):
            open(os.environ["AZUREML_DATAREFERENCE_" + name] + "/x", "w").write(name)
        sys.exit(3)
    """)
    spec = bench.spec(
        outputs=(
            bench.output("model", "model", when=When.SUCCESS),
            bench.output("logs", "logs", when=When.ALWAYS),
        )
    )

    ended = bench.start(spec).end()

    assert ended.code == 3
    assert (bench.stored("model"), bench.stored("logs")) == ({}, {"x": "logs"})
    assert not (bench.store / "logs" / "_manifest.json").exists()


def test_a_result_does_not_replace_somebody_elses(bench: Bench) -> None:
    """Without overwrite an object that is there stays, and the run fails naming it."""
    bench.script("import os; open(os.environ['AZUREML_DATAREFERENCE_model']+'/x', 'w').write('me')")
    (bench.store / "runs" / "1").mkdir(parents=True)
    (bench.store / "runs" / "1" / "x").write_text("somebody")

    ended = bench.start(bench.spec()).end()

    assert (ended.code, bench.stored()) == (23, {"x": "somebody"})
    assert '"runs/1/x" in "images" already exists' in ended.err


def test_files_go_out_while_the_script_runs(bench: Bench) -> None:
    """A closed and quiet file is in the store before the script ends; an open one is not."""
    bench.script("""
        import os, pathlib, time
        out = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_model"])
        (out / "early").write_text("done")
        half = open(out / "half", "w"); half.write("ha"); half.flush()
        (out / "renamed.tmp").write_text("r")
        store = pathlib.Path(os.environ["STORE"])
        until = time.monotonic() + 30
        while not ((store / "early").exists() and (store / "renamed.tmp").exists()):
            assert time.monotonic() < until, "nothing was sent"
            time.sleep(0.05)
        print("half sent:", (store / "half").exists())
        half.write("lf"); half.close()
        (out / "renamed.tmp").rename(out / "renamed")
    """)
    spec = bench.spec(environment={"STORE": str(bench.store / "runs/1")})

    ended = bench.start(spec).end()

    assert (ended.code, ended.out) == (0, b"half sent: False\n")
    assert bench.stored() == {"early": "done", "half": "half", "renamed": "r"}
    sent = [line["file"]["name"] for line in bench.journal() if line["event"] == "sent"]
    assert sorted(sent) == ["early", "half", "renamed", "renamed.tmp"]
