"""However the script or the agent ends, exit codes, results and words are right."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

from datastores.contract import Command, Limits
from tests.mount.agent.cloud import Cloud
from tests.mount.agent.jobs import Bench

_WRITES_AND_WAITS = """
    import os, pathlib, signal, sys, time
    out = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_model"])
    {first}
    (out / "x").write_text("kept")
    print("written", flush=True)
    while True:
        time.sleep(0.1)
"""


def test_a_failing_script_passes_its_code_on(bench: Bench) -> None:
    """A script that exits 3 makes an agent that exits 3, and a run that failed."""
    ended = bench.start(bench.shell("exit 3")).end()

    assert (ended.code, bench.report()["status"]) == (3, "Failed")


def test_a_killed_script_shows_its_signal(bench: Bench) -> None:
    """A script that SIGKILL ended makes an agent that exits 137; what it had written is kept."""
    bench.script("""
        import os, signal
        open(os.environ["AZUREML_DATAREFERENCE_model"] + "/x", "w").write("kept")
        os.kill(os.getpid(), signal.SIGKILL)
    """)

    ended = bench.start(bench.spec()).end()

    assert (ended.code, bench.stored()) == (137, {"x": "kept"})


def test_a_notice_reaches_the_script_and_results_are_kept(bench: Bench) -> None:
    """SIGTERM while the script runs ends it by SIGTERM, and what it had written is in the store."""
    bench.script(_WRITES_AND_WAITS.format(first=""))

    agent = bench.start(bench.spec())
    agent.until(b"written")
    agent.signal(signal.SIGTERM)
    ended = agent.end()

    assert (ended.code, bench.stored()) == (143, {"x": "kept"})
    assert (bench.report()["status"], bench.report()["ending"]) == ("Canceled", "terminated")


def test_a_script_that_saves_on_notice_has_time_for_it(bench: Bench) -> None:
    """What a script writes in its SIGTERM handler is kept, and its own exit code passed on."""
    bench.script(
        _WRITES_AND_WAITS.format(
            first="signal.signal(signal.SIGTERM, "
            "lambda *_: ((out / 'last').write_text('saved'), sys.exit(9)))"
        )
    )

    agent = bench.start(bench.spec())
    agent.until(b"written")
    agent.signal(signal.SIGTERM)
    ended = agent.end()

    assert (ended.code, bench.stored()) == (9, {"last": "saved", "x": "kept"})


def test_a_script_that_ignores_its_notice_is_killed(bench: Bench) -> None:
    """After the grace a deaf script is killed, with its children, and results are kept."""
    bench.script(
        _WRITES_AND_WAITS.format(
            first="signal.signal(signal.SIGTERM, signal.SIG_IGN); os.system('sleep 1000 &')"
        )
    )

    agent = bench.start(bench.spec(limits=Limits(grace_seconds=0.5)))
    agent.until(b"written")
    began = time.monotonic()
    agent.signal(signal.SIGTERM)
    ended = agent.end()

    assert (ended.code, bench.stored()) == (137, {"x": "kept"})
    assert time.monotonic() - began < 10


def test_an_interrupt_cancels(bench: Bench) -> None:
    """SIGINT reaches a Python script as KeyboardInterrupt, and the run is canceled."""
    bench.script("""
        import time
        print("written", flush=True)
        try:
            time.sleep(1000)
        except KeyboardInterrupt:
            raise SystemExit(0)
    """)

    agent = bench.start(bench.spec(outputs=()))
    agent.until(b"written")
    agent.signal(signal.SIGINT)
    ended = agent.end()

    assert (ended.code, bench.report()["ending"]) == (130, "canceled")


def test_a_run_has_a_longest_time(bench: Bench) -> None:
    """A script that runs past the limit is ended, and the run says so."""
    spec = bench.shell("trap 'exit 0' TERM; sleep 1000 & wait", limits=Limits(run_seconds=0.3))

    ended = bench.start(spec).end()

    assert (ended.code, bench.report()["ending"]) == (124, "timed out")


def test_a_notice_while_staging_starts_nothing(bench: Bench, cloud: Cloud) -> None:
    """SIGTERM while an input is on its way ends the run at once; no half of it is at its path."""
    bench.script("print('started')")
    spec = cloud.input_from(bench)
    cloud.gate.close()

    agent = bench.start(spec)
    assert cloud.gate.reached.wait(30)
    began = time.monotonic()
    agent.signal(signal.SIGTERM)
    ended = agent.end()

    assert (ended.code, ended.out) == (143, b"")
    assert time.monotonic() - began < 10
    assert not (bench.run / "work" / "cloud").exists() or not list(
        (bench.run / "work" / "cloud").glob("train")
    )


def test_a_cancellation_while_staging_starts_nothing(bench: Bench, cloud: Cloud) -> None:
    """SIGINT while an input is on its way ends the run at once with 130."""
    bench.script("print('started')")
    spec = cloud.input_from(bench)
    cloud.gate.close()

    agent = bench.start(spec)
    assert cloud.gate.reached.wait(30)
    agent.signal(signal.SIGINT)
    ended = agent.end()

    assert (ended.code, ended.out, bench.report()["status"]) == (130, b"", "Canceled")


def test_a_notice_while_flushing_is_bounded_and_names_what_is_left(
    bench: Bench, cloud: Cloud
) -> None:
    """SIGTERM during the last uploads ends within the bound, and names what is not in the store."""
    bench.script("""
        import os
        open(os.environ["AZUREML_DATAREFERENCE_model"] + "/weights", "w").write("kept")
    """)
    spec = cloud.output_to(bench, limits=Limits(flush_seconds=1.0))
    cloud.gate.close()

    agent = bench.start(spec)
    assert cloud.gate.reached.wait(30)
    began = time.monotonic()
    agent.signal(signal.SIGTERM)
    ended = agent.end()

    assert ended.code == 23
    assert time.monotonic() - began < 10
    assert 'output "model" is not in its store: time ran out before "weights" arrived' in ended.err

    cloud.gate.open()
    again = bench.resume().end()

    assert (again.code, cloud.stored()) == (0, {"weights": b"kept"})


def test_a_missing_output_is_an_error_that_names_it(bench: Bench) -> None:
    """A script that succeeds without writing its output makes a failed run that names the path."""
    bench.script("")
    spec = bench.spec(outputs=(bench.output("model", "m", path_on_compute="out/bar.pkl"),))

    ended = bench.start(spec).end()

    assert ended.code == 23
    path = bench.run / "work" / "out" / "bar.pkl"
    assert f'output "model" is not in its store: the script left nothing at "{path}"' in ended.err


def test_one_input_fails_and_the_other_is_not_half_there(bench: Bench, cloud: Cloud) -> None:
    """When one input does not exist, one that hangs is given up, leaving nothing at its path."""
    bench.script("print('started')")
    spec = cloud.input_from(bench)
    cloud.gate.close()
    wrong = bench.input("wrong", "no/such/place")

    ended = bench.start(replace(spec, inputs=(*spec.inputs, wrong))).end()

    assert (ended.code, ended.out) == (22, b"")
    assert (
        'input "wrong" could not be provided: "no/such/place" in "images" does not exist'
        in ended.err
    )
    assert not (bench.run / "work" / "cloud" / "train").exists()


def test_a_program_that_does_not_exist_is_named(bench: Bench) -> None:
    """A command that cannot be started ends with 21, and names the program."""
    spec = replace(bench.shell(""), work=Command(("no-such-program",)))

    ended = bench.start(spec).end()

    assert ended.code == 21
    assert '"no-such-program" cannot be started' in ended.err


def test_an_entry_script_that_does_not_exist_is_refused_first(bench: Bench) -> None:
    """A missing entry script is refused before anything is fetched, and leaves no folder."""
    ended = bench.start(bench.spec()).end()

    assert (ended.code, bench.run.exists()) == (21, False)
    assert 'the entry script "train.py" is not in' in ended.err


def test_a_spec_of_another_version_is_refused(bench: Bench) -> None:
    """A spec from a newer version ends with 15 and one sentence."""
    from tests.mount.agent.jobs import Agent

    path = bench.root / "spec.json"
    path.write_text('{"version": 99}')

    ended = Agent.start(["run", str(path), "--folder", str(bench.run)]).end()

    assert (ended.code, ended.err.count("\n")) == (15, 1)
