"""What it costs to judge pictures instead of data: ``python -m benchmarks.pictures``.

One sky with interference is searched; of every candidate are cut an image of our own, the panels
that FETCH reads, and panels as TransientX saves them (sub-bands; the best S/N over boxcars of
eight DMs, no less than 0; thirty widths of time). One network judges all three. What plain
rules reject, bursts without dispersion, does not count.
"""

import argparse
import sys
from dataclasses import replace

import numpy as np

from mlppa.classify import load_model
from mlppa.config import Plan, SearchSettings
from mlppa.data import Candidate, History, Panels
from mlppa.decide import rejection
from mlppa.dedisperse.engine import Engine
from mlppa.images import cut_panels
from mlppa.listed.pictures import as_image
from mlppa.search import SearchPlan
from mlppa.search.refine import channel_starts, series
from mlppa.simulate import SkySource
from mlppa.training.examples import live_images, match
from mlppa.training.versus import common_sky

#: TransientX: windows of so many widths on either side, rows of so many trials, so many rows.
WIDTHS, TRIALS, ROWS = 15, 8, 44

#: Boxcars of its search, in parts and multiples of the candidate's width.
BOXCARS = (0.25, 0.5, 1.0, 2.0, 4.0)


def px_panels(one: Candidate, history: History, plan: SearchPlan, step_dm: float) -> Panels:
    """Cut panels as TransientX saves them; ``step_dm`` is that of its trials."""
    width = one.width_samples
    tds = max(width // 8, 1)
    bins = 2 * WIDTHS * width // tds
    nsamples = bins * tds
    trials = one.dm + step_dm * (np.arange(ROWS * TRIALS) - ROWS * TRIALS // 2)
    trials = trials[trials >= 0]
    trials = trials[: len(trials) // TRIALS * TRIALS]
    rows = np.array([_best_boxcars(one, dm, history, plan, nsamples) for dm in trials])
    plane = rows.reshape(-1, TRIALS, bins, tds).mean(axis=(1, 3))
    sweep = one.dm / plan.unit_dm
    begin = one.sample + plan.mean_shape * sweep - nsamples / 2
    starts = channel_starts(plan, begin, np.array([sweep]))[0]
    channels = _channels(history, starts, nsamples)
    nsub = round(np.sqrt(len(starts)))
    edges = np.arange(nsub) * len(starts) // nsub
    each = np.diff([*edges, len(starts)])[:, None]
    sub = np.add.reduceat(channels, edges) / each
    time_s = np.asarray((np.arange(bins) - bins / 2 + 0.5) * tds * plan.tsamp_s, np.float64)
    return Panels(
        spectrum=sub.reshape(nsub, bins, tds).mean(axis=2).astype(np.float32),
        freqs_mhz=plan.freqs_mhz[edges],
        spectrum_s=time_s,
        plane=plane.astype(np.float32),
        dms=np.asarray(trials.reshape(-1, TRIALS).mean(axis=1), np.float64),
        plane_s=time_s,
    )


def _best_boxcars(
    one: Candidate, dm: float, history: History, plan: SearchPlan, nsamples: int
) -> np.ndarray:
    sweep = np.rint(dm / plan.unit_dm)
    longest = max(int(BOXCARS[-1] * one.width_samples), 1)
    begin = round(one.sample + plan.mean_shape * sweep - nsamples / 2) - longest
    sums, cells = series(history, plan, begin, np.array([sweep]), nsamples + 2 * longest)
    values = sums[0] / np.sqrt(np.maximum(cells[0], 1))
    values = (values - values.mean()) / max(float(values.std()), 1e-6)
    total = np.concatenate([[0.0], np.cumsum(values)])
    best = np.zeros(nsamples)
    for part in BOXCARS:
        width = max(int(part * one.width_samples), 1)
        snr = (total[width:] - total[:-width]) / np.sqrt(width)
        first = longest - width // 2
        best = np.maximum(best, snr[first : first + nsamples])
    return best


def _channels(history: History, starts: np.ndarray, nsamples: int) -> np.ndarray:
    from mlppa.clean import SIGMA
    from mlppa.dedisperse.exact import strips

    cut = strips(history, starts, nsamples)
    channels = np.zeros((len(starts), nsamples))
    channels[cut.channels] = cut.samples / SIGMA
    return channels


def main() -> None:
    """Print what each kind of picture keeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", default="spine-64")
    words = parser.parse_args()
    classifier = load_model(words.model, batch=256, device="cpu")
    res, threshold = classifier.res, classifier.card.threshold
    said: dict[str, list[float]] = {"data": [], "FETCH": [], "TransientX": []}
    labels: list[bool] = []
    for seed in range(1, words.seeds + 1):
        sky = common_sky(words.seconds, seed)
        plan = Plan.make(SearchSettings(threshold=7.0, dm_max=1000.0), sky.header, res)
        candidates: list[Candidate] = []
        kernel = Engine(2)
        for batch in live_images(SkySource(sky), plan, kernel):
            searched = batch.searched
            candidates += searched.candidates
            said["data"] += classifier(batch.images, batch.features).tolist()
            for one in searched.candidates:
                whole = replace(one, channels=None)
                width_s = one.width_samples * sky.header.tsamp_s
                panels = {
                    "FETCH": cut_panels(whole, searched.history, plan.search),
                    "TransientX": px_panels(whole, searched.history, plan.search, 1.0),
                }
                for name, cut in panels.items():
                    image, numbers = as_image(cut, one.dm, width_s, one.snr, res)
                    said[name].append(float(classifier(image[None], numbers[None])[0]))
        kernel.close()
        matched = match(candidates, sky.pulses, plan)
        plain = np.array([rejection(one, plan.search, 1.0, 0.0) is None for one in candidates])
        labels += np.where(matched.sure & plain, matched.labels, -1).tolist()
    truth = np.array(labels)
    sys.stdout.write(f"{(truth == 1).sum()} pulses, {(truth == 0).sum()} others, S/N 7 and more\n")
    for name, values in said.items():
        p = np.array(values)
        kept, false = (p[truth == 1] >= threshold).mean(), (p[truth == 0] >= threshold).mean()
        sys.stdout.write(f"{name:12}{100 * kept:6.1f} % of pulses,{100 * false:6.2f} % of others\n")


if __name__ == "__main__":
    main()
