"""A daemon beside a telescope that is played to it: recall, coverage, latency, memory.

    python -m benchmarks.live --seconds 600                       256 channels, 256 us
    python -m benchmarks.live --seconds 600 --large               1024 channels, 64 us
    python -m benchmarks.live --faults lost=0.01,duplicated=0.01,reordered=0.01,stop=5@60
    python -m benchmarks.live --rate 2 --slow 1.5@30-150 --ladder '[{"threshold": 15.0}]'
    python -m benchmarks.live --speed 10 --seconds 3600 --plot soak.png

The sky is simulated, the replay sends it over real UDP at its pace, the daemon and the
subscriber are processes of their own. Latency runs from the moment at which the last sample of
a pulse (the bottom of the band, half a boxcar later) left the sender to the moment at which
the subscriber had the message.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import zmq

from mlppa.data import FilterbankHeader
from mlppa.dispersion import sweep_s
from mlppa.metrics import FATES
from mlppa.simulate import Population, Pulse, random_sky, read_truth, write_filterbank
from mlppa.simulate.files import truth_path
from mlppa.simulate.match import match
from mlppa.wire import CoverageMessage, DetectionMessage, HealthMessage, decode

SMALL = FilterbankHeader(
    nchans=256, fch1_mhz=1500.0, foff_mhz=-1.171875, tsamp_s=256e-6, tstart_mjd=60000.0, nbits=8
)
LARGE = FilterbankHeader(
    nchans=1024, fch1_mhz=1500.0, foff_mhz=-0.29296875, tsamp_s=64e-6, tstart_mjd=60000.0, nbits=8
)
MLPPA = [sys.executable, "-m", "benchmarks.live", "--mlppa"]


@dataclass
class Heard:
    """What a subscriber has heard, and when."""

    detections: list[tuple[float, DetectionMessage]] = field(default_factory=list)
    coverage: list[CoverageMessage] = field(default_factory=list)
    health: list[HealthMessage] = field(default_factory=list)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def configure(folder: Path, args: argparse.Namespace) -> dict[str, int]:
    ports = {name: free_port() for name in ("pub", "replay", "http")}
    ports["udp"] = free_port(socket.SOCK_DGRAM)
    ladder = json.loads(args.ladder)
    steps = ", ".join(
        "{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in one.items()) + "}" for one in ladder
    )
    (folder / "live.toml").write_text(
        f"""
output = "{folder}/out"
stream = "bench"
input = ["spead://127.0.0.1:{ports["udp"]}"]
[search]
dm_max = {args.dm_max}
threads = {args.threads}
plan = "{args.plan}"
[publish]
detections = "tcp://127.0.0.1:{ports["pub"]}"
replay = "tcp://127.0.0.1:{ports["replay"]}"
images = {str(args.images).lower()}
[watchdog]
queue_s = {args.queue_s}
ladder = [{steps}]
[inject]
per_hour = {args.inject}
[life]
http = "127.0.0.1:{ports["http"]}"
health_every_s = 1.0
"""
    )
    return ports


def listen(port: int, heard: Heard, done: list[bool]) -> None:
    context = zmq.Context()
    sub = context.socket(zmq.SUB)
    sub.subscribe(b"")
    sub.connect(f"tcp://127.0.0.1:{port}")
    while not done:
        if not sub.poll(100):
            continue
        now_s = time.monotonic()
        message = decode(sub.recv_multipart()[1])
        if isinstance(message, DetectionMessage):
            heard.detections.append((now_s, message))
        elif isinstance(message, CoverageMessage):
            heard.coverage.append(message)
        elif isinstance(message, HealthMessage):
            heard.health.append(message)
    sub.close(linger=0)
    context.term()


def watch(pid: int, seen: list[tuple[float, float, int, int]], done: list[bool]) -> None:
    """Note resident MiB, open files and threads of a process, once a second."""
    while not done:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            files = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
        except OSError:
            return
        facts = dict(line.split(":", 1) for line in status.splitlines())
        if "VmRSS" not in facts:  # it has ended
            return
        rss_mib = int(facts["VmRSS"].split()[0]) / 1024
        seen.append((time.monotonic(), rss_mib, files, int(facts["Threads"])))
        time.sleep(1.0)


def until(wanted: Any, seconds: float) -> bool:
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        if wanted():
            return True
        time.sleep(0.05)
    return False


def run(args: argparse.Namespace) -> dict[str, Any]:
    header = LARGE if args.large else SMALL
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sky = args.sky or folder / "sky.fil"
        if not sky.exists():
            # the replay goes round and round: a file of an hour would fill the disk
            seconds = min(args.seconds, args.round_s)
            count = round(seconds * args.rate)
            population = Population(count, (args.snr, 40.0), (20.0, args.dm_max * 0.9), (0.5, 20.0))
            write_filterbank(random_sky(header, seconds, population, False, args.seed), sky)
        ports = configure(folder, args)
        heard = Heard()
        done: list[bool] = []
        process: list[tuple[float, float, int, int]] = []
        # what is read once is in memory: the disk does not disturb the pace
        with (folder / "daemon.log").open("w") as log:
            daemon = subprocess.Popen(
                [*MLPPA, "run", str(folder / "live.toml")],
                stderr=log,
                env=os.environ | ({"BENCH_SLOW": args.slow} if args.slow else {}),
            )
        helpers = [
            Thread(target=listen, args=(ports["pub"], heard, done)),
            Thread(target=watch, args=(daemon.pid, process, done)),
        ]
        for one in helpers:
            one.start()
        log_text = folder / "daemon.log"
        until(lambda: "ready:" in log_text.read_text(), 60)
        command = [*MLPPA, "replay", str(sky), "--to", f"spead://127.0.0.1:{ports['udp']}"]
        command += ["--speed", str(args.speed), "--json", "--quiet", "--seconds", str(args.seconds)]
        command += ["--loop"] if args.seconds > args.round_s else []
        command += ["--faults", args.faults] if args.faults else []
        sent = subprocess.run(command, check=True, capture_output=True, text=True)
        played = json.loads(sent.stdout.splitlines()[-1])
        until(lambda: heard.health and heard.health[-1].state == "silent", 30)
        daemon.terminate()
        daemon.wait(60)
        time.sleep(0.5)
        done.append(True)
        for one in helpers:
            one.join()
        if args.log:
            sys.stderr.write(log_text.read_text())
        result = judge(header, read_truth(truth_path(sky)).pulses, heard, played, args)
    if args.log:
        for h in heard.health:
            told = (h.state, h.ratio, h.latency_s, h.rung, h.stage_seconds, h.queues)
            sys.stderr.write(f"{told}\n")
    if args.plot:
        plot(process, heard, header, args.plot, played)
    memory = np.array([one[1] for one in process[len(process) // 5 :]])
    return result | {
        "rss_mib": [round(float(memory.min()), 1), round(float(memory.max()), 1)],
        "files": [min(p[2] for p in process[5:]), max(p[2] for p in process[5:])],
        "threads": [min(p[3] for p in process[5:]), max(p[3] for p in process[5:])],
    }


def judge(
    header: FilterbankHeader,
    pulses: list[Pulse],
    heard: Heard,
    played: dict[str, Any],
    args: argparse.Namespace,
) -> dict[str, Any]:
    round_s = min(args.seconds, args.round_s)
    rounds = int(np.ceil(args.seconds / round_s))
    every = [
        Pulse(p.time_s + n * round_s, p.dm, p.width_ms, p.snr)
        for n in range(rounds)
        for p in pulses
        if p.time_s + n * round_s + sweep_s(p.dm, header.freqs_mhz) < args.seconds - 0.3
    ]
    sky = [(t, m) for t, m in heard.detections if not m.injected]
    arrived = {m.id: t for t, m in sky}
    pairs, rest = match(every, [m for _, m in sky], header)
    holes = [(c.start_s, c.stop_s, c) for c in heard.coverage if c.shed or c.missing]
    latency_s = []
    missed = []
    for pulse, found in pairs:
        bottom_s = pulse.time_s + sweep_s(pulse.dm, header.freqs_mhz)
        if found is None:
            in_hole = any(a < bottom_s + 0.5 and b > pulse.time_s - 0.5 for a, b, _ in holes)
            missed.append((round(pulse.time_s, 2), round(pulse.dm), round(pulse.snr, 1), in_hole))
            continue
        last_s = bottom_s + found.width_ms / 2e3
        left_s = played["t0_monotonic_s"] + last_s / played["speed"]
        latency_s.append(arrived[found.id] - left_s)
    sums = {fate: sum(getattr(c, fate) for c in heard.coverage) for fate in FATES}
    first, last = heard.coverage[0].start, max(c.stop for c in heard.coverage)
    latency = np.array(latency_s)
    return {
        "pulses": len(every),
        "found": len(latency_s),
        "missed": missed[:40],
        "missed_outside_of_holes": sum(not one[3] for one in missed),
        "false": len(rest),
        "coverage": sums,
        "elapsed": last - first,
        "adds_up": sum(sums.values()) == last - first,
        "played": played,
        "block_s": heard.coverage[3].budget_s,
        "latency_s": {
            "median": round(float(np.median(latency)), 3),
            "p99": round(float(np.percentile(latency, 99)), 3),
            "worst": round(float(latency.max()), 3),
        },
        "ratio": round(max(h.ratio for h in heard.health), 3),
        "largest_backlog": max(h.queues.get("input", 0) for h in heard.health),
        "last_shed_s": max((c.stop_s for c in heard.coverage if c.shed), default=None),
        "steps": [heard.health[-1].steps_down, heard.health[-1].steps_up],
        "rungs": sorted({h.rung for h in heard.health}),
        "states": sorted({h.state for h in heard.health}),
        "recovered": heard.health[-1].recovered,
    }


def plot(
    process: list[tuple[float, float, int, int]],
    heard: Heard,
    header: FilterbankHeader,
    path: Path,
    played: dict[str, Any],
) -> None:
    from matplotlib import pyplot as plt

    began = process[0][0]
    minutes = [(p[0] - began) / 60 for p in process]
    figure, axes = plt.subplots(3, 1, figsize=(9, 8), sharex=True, layout="constrained")
    axes[0].plot(minutes, [p[1] for p in process], color="tab:blue")
    axes[0].set_ylabel("resident memory (MiB)")
    axes[0].set_ylim(bottom=0)
    axes[1].plot(minutes, [p[2] for p in process], label="open files")
    axes[1].plot(minutes, [p[3] for p in process], label="threads")
    axes[1].set_ylabel("count")
    axes[1].set_ylim(bottom=0)
    axes[1].legend()
    points = [
        ((t - began) / 60, m.latency_s) for t, m in heard.detections if m.latency_s is not None
    ]
    axes[2].plot(*zip(*points, strict=True), ".", markersize=2)
    axes[2].set_ylabel("latency of detections (s)")
    axes[2].set_xlabel("time (minutes)")
    figure.suptitle(
        f"{header.nchans} channels, {header.tsamp_s * 1e6:g} µs, "
        f"{played['speed']:g} times the speed of the sky"
    )
    figure.savefig(path, dpi=110)


def slow_down(slow: str) -> None:
    """Let every batch of images take longer for a while: ``1.5@30-150``, in seconds."""
    from mlppa import live
    from mlppa.classify import Classifier, load_model
    from mlppa.data import Float32Array

    pause_s, _, when = slow.partition("@")
    first_s, _, last_s = when.partition("-")
    began = time.monotonic()

    def load_slow(*args: Any, **options: Any) -> Classifier:
        classifier = load_model(*args, **options)
        network = classifier._network

        def slower(images: Float32Array, features: Float32Array) -> Float32Array:
            if float(first_s) < time.monotonic() - began < float(last_s):
                time.sleep(float(pause_s))
            return network(images, features)

        classifier._network = slower
        return classifier

    vars(live)["load_model"] = load_slow


def main() -> None:
    if sys.argv[1:2] == ["--mlppa"]:
        from mlppa.cli import main as mlppa

        del sys.argv[1]
        if slow := os.environ.get("BENCH_SLOW"):
            slow_down(slow)
        mlppa()
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--round-s", type=float, default=600.0)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=0.5, help="pulses a second")
    parser.add_argument("--snr", type=float, default=8.5)
    parser.add_argument("--dm-max", type=float, default=1000.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plan", default="quality")
    parser.add_argument("--faults", default="")
    parser.add_argument("--slow", default="", help="a slowed network, such as 1.5@30-150")
    parser.add_argument("--ladder", default="[]")
    parser.add_argument("--queue-s", type=float, default=10.0)
    parser.add_argument("--inject", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sky", type=Path)
    parser.add_argument("--images", action="store_true")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--log", action="store_true")
    sys.stdout.write(json.dumps(run(parser.parse_args()), indent=1) + "\n")


if __name__ == "__main__":
    main()
