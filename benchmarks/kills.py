"""SIGKILL a daemon under load, again and again: is anything lost, or told twice?

    python -m benchmarks.kills --times 200

A replay sends a sky with a pulse a second over UDP, round and round. The daemon is killed at
random moments, from before it is ready until some seconds after, and started again. In the end
the journal must be whole: numbers without a hole, names that come once, no pulse under two
names, and everything that a subscriber heard.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from mlppa.simulate import Population, random_sky, write_filterbank
from mlppa.wire import DetectionMessage
from tests.daemon import Daemon, Ear, free_port, until

from .live import MLPPA, SMALL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sky = folder / "sky.fil"
        population = Population(120, (10.0, 40.0), (20.0, 400.0), (1.0, 8.0))
        write_filterbank(random_sky(SMALL, 120.0, population, False, 1), sky)
        port = free_port()
        daemon = Daemon(
            folder,
            "[search]\ndm_max = 500.0\n",
            inputs={"b0": f"spead://127.0.0.1:{port}"},
            program=MLPPA,
        )
        words = [*MLPPA, "replay", str(sky), "--to", f"spead://127.0.0.1:{port}", "--loop", "-q"]
        replay = subprocess.Popen(words)
        ready_s: list[float] = []
        heard: dict[str, DetectionMessage] = {}
        try:
            for number in range(args.times):
                before, began = len(daemon.log), time.monotonic()
                daemon.launch()
                with Ear(daemon) as ear:
                    if rng.random() < 0.15:
                        # before it is ready
                        time.sleep(float(rng.uniform(0.1, 2.0)))
                    else:
                        until(lambda at=before: "ready:" in daemon.log[at:])  # type: ignore[misc]
                        ready_s.append(time.monotonic() - began)
                        until_s = time.monotonic() + float(rng.exponential(2.5))
                        while time.monotonic() < until_s:
                            ear.listen()
                    daemon.kill()
                    ear.listen()
                    heard |= {m.id: m for m in ear.heard if isinstance(m, DetectionMessage)}
                sys.stderr.write(f"\r{number + 1} kills, {len(heard)} pulses heard ")
            daemon.start()
            time.sleep(3)
            assert daemon.stop() == 0
        finally:
            replay.send_signal(signal.SIGTERM)
            replay.wait()
            if daemon.lives:
                daemon.kill()
        messages, pulses = daemon.messages(), daemon.pulses()
        numbers = [m.seq for m in messages]
        names = [m.id for m in pulses]
        times = sorted((m.time_s, m.dm) for m in pulses)
        near = [(a, b) for a, b in pairwise(times) if b[0] - a[0] < 0.02 and abs(a[1] - b[1]) < 10]
        result = {
            "kills": args.times,
            "ready_s": [round(float(x), 2) for x in np.percentile(ready_s, [50, 99, 100])],
            "messages": len(messages),
            "numbers_without_a_hole": numbers == list(range(1, len(numbers) + 1)),
            "pulses": len(pulses),
            "names_twice": len(names) - len(set(names)),
            "pulses_under_two_names": near,
            "heard": len(heard),
            "heard_and_not_kept": sorted(heard.keys() - set(names)),
        }
        sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
