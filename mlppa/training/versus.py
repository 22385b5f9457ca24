"""Models against a search without a network, on one sky: the table of the ML-PPA talk."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ..classify import model_card
from ..config import Plan, SearchSettings
from ..data import BoolArray, Candidate
from ..decide import rejection
from ..dedisperse import Kernel
from ..disk import make_folder, write_whole
from ..plots import plot_versus
from ..simulate import L_BAND, Population, Sky, SkySource, random_sky
from .examples import TALLY, Examples, live_images, match, sky_facts
from .judging import judge_of, refuse_namesakes
from .shards import Tell, silent
from .skies import Drawn

#: The receiver of the common sky.
HEADER = replace(L_BAND, source_name="versus")

#: A pulse every three seconds, from what nobody can find to what nobody can miss.
SECONDS_PER_PULSE = 3.0
POPULATION = Population(snr=(5.5, 40.0), dm=(20.0, 800.0), width_ms=(0.5, 15.0))

#: The search without a network reports from here on, as TransientX does unless told otherwise;
#: networks judge from there on.
REFERENCE_SNR = 7.0
JUDGED_SNR = 6.0


@dataclass(frozen=True, slots=True)
class Row:
    """What a model makes of the sky, against the reference.

    Parameters
    ----------
    model
        Its name.
    found, not_found
        Pulses of the reference that it confirms, and that it does not.
    false_confirmed
        What the reference reports and is no pulse, and the model confirms.
    more_true, more_false
        What it finds below the reference's S/N: pulses, and others.
    unique
        Pulses that no other model finds, nor the reference.
    """

    model: str
    found: int
    not_found: int
    false_confirmed: int
    more_true: int
    more_false: int
    unique: int


@dataclass(frozen=True, slots=True)
class Versus:
    """The table.

    Parameters
    ----------
    seconds, pulses
        Of the sky.
    reference_true, reference_false
        What the search without a network reports.
    rows
        One for each model.
    """

    seconds: float
    pulses: int
    reference_true: int
    reference_false: int
    rows: tuple[Row, ...]


def common_sky(seconds: float, seed: int) -> Sky:
    """Draw the sky of the table: pulses among interference of every kind."""
    count = max(int(seconds / SECONDS_PER_PULSE), 1)
    return random_sky(HEADER, seconds, replace(POPULATION, n_pulses=count), True, seed)


def compare(models: Sequence[str | Path], sky: Sky, kernel: Kernel, tell: Tell = silent) -> Versus:
    """Search a sky once, and let every model judge what comes out.

    Parameters
    ----------
    models
        Names or folders.
    sky, kernel
        What is searched, and by what.
    tell
        Is called with how many samples are searched.

    Raises
    ------
    ModelError
        Where a model cannot be loaded.
    ConfigError
        Where two are called the same.
    """
    refuse_namesakes(models)
    cards, judges = [model_card(name) for name in models], [judge_of(name) for name in models]
    res = max(card.res for card in cards) or 64
    settings = SearchSettings(threshold=JUDGED_SNR, dm_max=1000.0, threads=1, subbands=False)
    plan = Plan.make(settings, sky.header, res)
    source = SkySource(sky)
    candidates: list[Candidate] = []
    images, features = [], []
    for piece in live_images(source, plan, kernel):
        candidates += piece.searched.candidates
        images.append(piece.images.astype(np.float16))
        features.append(piece.features)
        tell("searching", piece.searched.coverage.stop, sky.nsamples)
    matched = match(candidates, sky.pulses, plan)
    drawn = Drawn(source, plan, sky.pulses, sky.interference)
    examples = Examples(
        np.concatenate(images),
        np.concatenate(features),
        sky_facts(candidates, matched, drawn, 0),
        np.empty(0, TALLY),
    )
    plain = _passed(candidates, plan)
    reference = plain & (examples.snrs >= REFERENCE_SNR)
    said = []
    for judge, card in zip(judges, cards, strict=True):
        said.append(plain & (judge(examples) >= card.threshold))
    truth, sure = matched.labels, matched.sure
    rows = (
        _row(card.name, number, said, reference, truth, sure) for number, card in enumerate(cards)
    )
    return Versus(
        seconds=sky.nsamples * sky.header.tsamp_s,
        pulses=len(sky.pulses),
        reference_true=_count(reference & truth),
        reference_false=_count(reference & ~truth & sure),
        rows=tuple(rows),
    )


def _passed(candidates: Sequence[Candidate], plan: Plan) -> BoolArray:
    """Say what the rules alone let pass: no burst without dispersion."""
    return np.array([rejection(c, plan.search, 1.0, 0.0) is None for c in candidates], np.bool_)


def _row(
    name: str,
    number: int,
    said: Sequence[BoolArray],
    reference: BoolArray,
    truth: BoolArray,
    sure: BoolArray,
) -> Row:
    mine = said[number]
    others = reference.copy()
    for other, one in enumerate(said):
        if other != number:
            others |= one
    return Row(
        model=name,
        found=_count(mine & reference & truth),
        not_found=_count(~mine & reference & truth),
        false_confirmed=_count(mine & reference & ~truth & sure),
        more_true=_count(mine & ~reference & truth),
        more_false=_count(mine & ~reference & ~truth & sure),
        unique=_count(mine & truth & ~others),
    )


def _count(which: BoolArray) -> int:
    return int(np.count_nonzero(which))


def write_versus(versus: Versus, folder: Path) -> str:
    """Write the table as Markdown, JSON and PNG, and give the Markdown.

    Raises
    ------
    SinkError
        Where the folder cannot be written.
    """
    make_folder(folder)
    text = "\n".join(_lines(versus)) + "\n"
    write_whole(folder / "versus.md", text.encode())
    write_whole(folder / "versus.json", json.dumps(asdict(versus), indent=1).encode() + b"\n")
    rows = {
        row.model: (row.found, row.more_true, row.not_found, row.false_confirmed + row.more_false)
        for row in versus.rows
    }
    plot_versus(rows, versus.reference_true, folder / "versus.png")
    return text


def _lines(versus: Versus) -> list[str]:
    every = max(versus.reference_true, 1)
    heads = ("found", "not found", "false, confirmed", "more: true", "more: false", "unique")
    return [
        f"{versus.pulses} pulses in {versus.seconds:.0f} s with interference; the search without "
        f"a network reports {versus.reference_true} of them at S/N {REFERENCE_SNR:g} and more, "
        f"and {versus.reference_false} others.",
        "",
        "| model | " + " | ".join(heads) + " |",
        "|---" * (len(heads) + 1) + "|",
        *(
            f"| {row.model} | {row.found} ({100 * row.found / every:.0f} %) | "
            f"{row.not_found} ({100 * row.not_found / every:.0f} %) | {row.false_confirmed} | "
            f"{row.more_true} | {row.more_false} | {row.unique} |"
            for row in versus.rows
        ),
    ]
