"""How straight a chirp may be before it is taken for a pulse.

python -m benchmarks.chirps
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing

import numpy as np

from mlppa.classify import load_model
from mlppa.config import ClassifySettings, Plan, SearchSettings
from mlppa.decide import rejection
from mlppa.dedisperse.engine import Engine
from mlppa.demo import HEADER
from mlppa.simulate import Interference, Sky, SkySource
from mlppa.simulate.interference import bend
from mlppa.training.examples import live_images

#: How far a chirp is off the delay law at most, in units of its width.
BENDS = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0)
CHIRPS = 60

#: One begins every so many seconds, the first one after so many.
EVERY_S, FIRST_S = 1.5, 2.0
LONGEST_S = 1.0

SNR = (12.0, 40.0)
WIDTH_SAMPLES = (2.0, 24.0)


def chirps(bend_widths: float, rng: np.random.Generator) -> Iterator[Interference]:
    """Draw chirps, as long as a straight line must be to be off so far."""
    straight = bend(HEADER)
    for number in range(CHIRPS):
        width_s = HEADER.tsamp_s * np.exp(rng.uniform(*np.log(WIDTH_SAMPLES)))
        length_s = min(bend_widths * width_s / straight, LONGEST_S)
        width_s = length_s * straight / bend_widths
        start_s = FIRST_S + EVERY_S * number + rng.uniform(0, 0.3)
        level = rng.uniform(*SNR) / np.sqrt(HEADER.nchans * width_s / HEADER.tsamp_s)
        yield Interference("chirp", start_s, start_s + length_s, level, width_ms=1e3 * width_s)


def main() -> None:
    """Print, for every bend, how many chirps pass for pulses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=ClassifySettings().model)
    network = load_model(parser.parse_args().model)
    least = network.card.threshold
    plan = Plan.make(SearchSettings(), HEADER, network.res)
    rng = np.random.default_rng(5)
    with closing(Engine()) as engine:
        for widths in BENDS:
            nsamples = int((FIRST_S + EVERY_S * CHIRPS + 3) / HEADER.tsamp_s)
            sky = Sky(
                header=HEADER,
                nsamples=nsamples,
                interference=tuple(chirps(widths, rng)),
                seed=int(10 * widths),
            )
            taken = set()
            for batch in live_images(SkySource(sky), plan, engine):
                chances = network(batch.images, batch.features)
                for one, chance in zip(batch.searched.candidates, chances, strict=True):
                    if rejection(one, plan.search, float(chance), least) is None:
                        taken.add(int((one.sample * HEADER.tsamp_s - FIRST_S + 0.1) / EVERY_S))
            sys.stdout.write(f"bend of {widths:4.1f} widths: {len(taken)} of {CHIRPS} pass\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
