"""Many random sequences on a mount, a tmpfs folder and a model.

    python -m tests.mount.differential.campaign --examples 1000

ends with 0 when all agree; else it prints the shortest sequence that does not, and the seed to see
it again (`--seed`). `--machine` picks one way to set up the mount (default: all in turn).
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import signal
import sys
import time
import traceback

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.mount.differential.machine import MACHINES, Differential

# Longer than any single example, its shrinking not counted: a caller hangs in the kernel.
HANG_SECONDS = 600


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign; the exit code."""
    options = _parse(arguments)
    # A process that is killed while it waits for a mount which it serves itself stays for ever.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names = [options.machine] if options.machine else list(MACHINES)
    share = -(-options.examples // len(names))
    failed = 0
    for number, name in enumerate(names):
        chosen = options.seed + number
        started = time.monotonic()
        is_fine = run(MACHINES[name], share, options.steps, chosen, shrinks=options.shrink)
        spent = time.monotonic() - started
        verdict = "agree" if is_fine else "DIFFER"
        say(
            f"{name}: {share} examples of up to {options.steps} calls, seed {chosen}: {verdict} ({spent:.0f} s)"
        )
        failed += not is_fine
    return 1 if failed else 0


def run(
    machine: type[Differential], examples: int, steps: int, chosen: int, *, shrinks: bool = True
) -> bool:
    """Whether the mount agreed; what did not is printed."""
    faulthandler.dump_traceback_later(HANG_SECONDS + examples, exit=True)
    try:
        run_state_machine_as_test(
            seed(chosen)(machine),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                phases=[Phase.generate, *([Phase.shrink] if shrinks else [])],
                suppress_health_check=list(HealthCheck),
            ),
        )
    except Exception:  # noqa: BLE001  # whatever it is, the sequence that led there is the result
        say(traceback.format_exc())
        return False
    finally:
        faulthandler.cancel_dump_traceback_later()
    return True


def say(text: str) -> None:
    """One line for whoever waits for it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mount.differential.campaign")
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    # The shortest sequence takes minutes to find; the first one is there at once.
    parser.add_argument("--shrink", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--machine", choices=list(MACHINES))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
