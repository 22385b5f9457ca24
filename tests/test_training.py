"""Training: labels from the truth, images from the live path, networks that can learn."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlppa import __version__
from mlppa.classify import Classifier, load_model, model_card
from mlppa.classify.engines import import_keras
from mlppa.cli import models
from mlppa.config import Plan, SearchSettings
from mlppa.data import Candidate, FilterbankHeader
from mlppa.dedisperse.engine import Engine
from mlppa.errors import ConfigError
from mlppa.images import FEATURES
from mlppa.simulate import Interference, Pulse, Sky, SkySource
from mlppa.sources import Source, open_source
from mlppa.training import card, dataset
from mlppa.training.architecture import ARCHITECTURES, build
from mlppa.training.card import code_version, save_model
from mlppa.training.dataset import (
    Draw,
    Examples,
    join,
    live_images,
    match,
    random_examples,
    random_plan,
    sky_examples,
    training_sky,
)
from mlppa.training.train import Recipe, as_network, evaluate, facts, fit, gather

HEADER = FilterbankHeader(
    nchans=64, fch1_mhz=1500.0, foff_mhz=-4.0, tsamp_s=1e-3, tstart_mjd=60000.0, nbits=8
)
PLAN = Plan.make(SearchSettings(dm_max=800, threshold=6.0, threads=1), HEADER, 64)
BRIGHT = Pulse(time_s=6.0, dm=300.0, width_ms=8.0, snr=40.0)
FAINT = Pulse(time_s=11.0, dm=500.0, width_ms=4.0, snr=20.0)


def candidate(pulse: Pulse, snr: float, later: float = 0.0, sweep: float = 0.0) -> Candidate:
    """A candidate at a pulse, off by so many samples of time (mean delay) and of sweep."""
    dm = pulse.dm + sweep * PLAN.search.unit_dm
    sample = pulse.time_s / HEADER.tsamp_s + later - PLAN.search.mean_shape * sweep
    return Candidate(
        sample=sample, dm=dm, dm_err=1.0, width_samples=8, snr=snr, snr_zero_dm=1.0, octave=1
    )


def labels_of(candidates: Sequence[Candidate], pulses: tuple[Pulse, ...]) -> list[str]:
    labels, keep, _ = match(list(candidates), pulses, PLAN)
    return [
        "pulse" if label else "other" if sure else "unsure"
        for label, sure in zip(labels, keep, strict=True)
    ]


def test_each_pulse_has_one_candidate_and_its_neighbours_are_left_out() -> None:
    here = candidate(BRIGHT, 38.0)
    weaker = candidate(BRIGHT, 12.0, later=2.0)
    wing = candidate(BRIGHT, 15.0, later=10.0, sweep=60.0)
    far_in_time = candidate(BRIGHT, 15.0, later=900.0)
    far_in_dm = candidate(BRIGHT, 15.0, sweep=400.0)
    everything = [weaker, here, wing, far_in_time, far_in_dm]
    expected = ["unsure", "pulse", "unsure", "other", "other"]
    assert labels_of(everything, (BRIGHT,)) == expected


def test_a_burst_at_dm_0_is_not_a_wide_pulse_of_low_dm() -> None:
    wide = Pulse(time_s=6.0, dm=30.0, width_ms=20.0, snr=40.0)
    sweep = wide.dm / PLAN.search.unit_dm
    assert labels_of([candidate(wide, 38.0, sweep=-sweep)], (wide,)) == ["unsure"]
    assert labels_of([candidate(wide, 38.0, sweep=-0.2 * sweep)], (wide,)) == ["pulse"]


def test_two_pulses_cannot_share_a_candidate() -> None:
    twin = replace(BRIGHT, time_s=BRIGHT.time_s + 0.004, snr=20.0)
    labels, _, found = match([candidate(BRIGHT, 40.0)], (twin, BRIGHT), PLAN)
    assert labels.tolist() == [True]
    assert found.tolist() == [False, True]


def test_a_missed_pulse_is_told() -> None:
    labels, _, found = match([candidate(BRIGHT, 40.0)], (BRIGHT, FAINT), PLAN)
    assert labels.tolist() == [True]
    assert found.tolist() == [True, False]


@pytest.fixture(scope="module")
def searched() -> Examples:
    burst = Interference("burst", 8.0, 8.02, level=2.0)
    sky = Sky(header=HEADER, nsamples=16384, pulses=(BRIGHT, FAINT), interference=(burst,), seed=3)
    return sky_examples(sky, PLAN, Engine(1), number=7)


def test_images_of_a_simulated_sky_show_its_pulses_in_the_middle(searched: Examples) -> None:
    assert searched.labels.sum() == 2
    assert set(searched.skies.tolist()) == {7}
    pulses = searched.images[searched.labels]
    for image in pulses:
        assert 32 in (row for row, _ in np.argwhere(image > 0.9 * image.max()))
        assert image[31:34, 31:34].mean() > 5 * np.abs(image).mean()
    snrs = searched.snrs[searched.labels]
    np.testing.assert_allclose(snrs, [BRIGHT.snr, FAINT.snr], rtol=0.15)


def test_a_burst_without_dispersion_is_an_example_of_interference(searched: Examples) -> None:
    others = searched.features[~searched.labels]
    assert len(others) >= 1
    sweep_px, ratio = FEATURES.index("log2_sweep_px"), FEATURES.index("snr_zero_dm_ratio")
    assert (others[:, sweep_px] < 3).any()
    assert others[:, ratio].max() > 0.9
    assert (searched.features[searched.labels, ratio] < 0.7).all()


def test_random_telescopes_and_skies_are_what_they_say() -> None:
    depths, orders = set(), set()
    for number in range(40):
        plan = random_plan(np.random.default_rng(number), 64, 5.5)
        header = plan.header
        assert 150 < header.f_lo_mhz < header.f_hi_mhz < 6000
        assert plan.gulp <= dataset.SKY_SAMPLES
        depths.add(header.nbits)
        orders.add(header.foff_mhz > 0)
    assert depths == {1, 2, 4, 8, 16, 32}
    assert orders == {True, False}
    sky = training_sky(PLAN, np.random.default_rng(1), "radar")
    assert {item.kind for item in sky.interference} == {"radar"}
    assert len(sky.pulses) == dataset.SKY_PULSES


def test_the_same_draw_gives_the_same_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "SKY_SAMPLES", 8192)
    monkeypatch.setattr(dataset, "SKY_PULSES", 4)
    one, two = (random_examples(Draw(1, 2, 32, 6.0), Engine(1)) for _ in range(2))
    assert len(one.labels) > 0
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.labels, two.labels)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@pytest.mark.parametrize("res", [32, 64, 128, 256])
def test_every_network_takes_every_resolution_and_is_plain_keras(
    architecture: str, res: int
) -> None:
    model = build(architecture, res, seed=0)
    assert [tuple(i.shape) for i in model.inputs] == [(None, res, res, 1), (None, len(FEATURES))]
    assert model.output_shape == (None, 1)
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    if architecture == "strided":
        assert model.count_params() < 30_000


def test_an_unknown_architecture_or_resolution_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown"):
        build("cathedral", 64, 0)
    with pytest.raises(ConfigError, match="48 pixels"):
        build("strided", 48, 0)


def stand_in(count: int, res: int) -> Examples:
    """Images of noise, half of them with an upright bow-tie in the middle."""
    rng = np.random.default_rng(5)
    labels = np.arange(count) % 2 == 0
    images = rng.standard_normal((count, res, res)).astype(np.float32)
    rows, columns = np.indices((res, res)) - res // 2
    spread = 1 + np.abs(rows)
    images[labels] += (np.abs(columns) <= spread / 2 + 1) * 6 / np.sqrt(spread)
    features = np.tile(np.array([8, 10, 0.2, 1.5], np.float32), (count, 1))
    return Examples(images, features, labels, np.arange(count) // 4, np.empty(0, np.float32))


def test_a_network_learns_is_written_and_reads_back(tmp_path: Path) -> None:
    recipe = Recipe(res=32, epochs=6, batch=32, learning_rate=5e-3)
    examples = stand_in(400, 32)
    model = fit(recipe, examples)
    expected = as_network(model)(examples.images, examples.features)
    assert ((expected > 0.5) == examples.labels).mean() > 0.95

    folder = tmp_path / "stand-in"
    save_model(model, folder, facts(recipe, examples, {"accuracy": 1.0}))
    card = model_card(folder)
    assert Recipe(**card.facts["recipe"]) == recipe
    assert card.facts["training"]["pulses"] == 200
    classifier = load_model(folder, device="cpu")
    np.testing.assert_allclose(classifier(examples.images, examples.features), expected, atol=1e-5)
    assert not list(tmp_path.rglob("*.part"))


@pytest.fixture(scope="module")
def spine() -> Classifier:
    """The model that comes with the program."""
    return load_model("spine-64", device="cpu")


def probabilities(
    source: Source, plan: Plan, classifier: Classifier
) -> list[tuple[Candidate, float]]:
    pieces = live_images(source, plan, Engine(1))
    return [
        (candidate, float(p))
        for piece in pieces
        for candidate, p in zip(
            piece.searched.candidates, classifier(piece.images, piece.features), strict=True
        )
    ]


def test_the_model_tells_pulses_from_interference(spine: Classifier) -> None:
    pulses = [
        Pulse(time_s=1.5 * n, dm=100.0 + 80 * n, width_ms=2.0 * n, snr=15.0) for n in range(1, 9)
    ]
    bursts = [Interference("burst", 2.2 + 1.5 * n, 2.22 + 1.5 * n, level=1.0) for n in range(8)]
    carrier = Interference("pulsed", 0, 15, 8.0, 1400, 1403, period_s=0.3, width_ms=15.0)
    sky = Sky(
        header=HEADER,
        nsamples=16384,
        pulses=tuple(pulses),
        interference=(*bursts, carrier),
        seed=12,
    )
    said = probabilities(SkySource(sky), PLAN, spine)
    labels, keep, found = match([c for c, _ in said], sky.pulses, PLAN)
    assert found.all()
    assert all(p > 0.5 for (_, p), label in zip(said, labels, strict=True) if label)
    others = [(c.snr, p) for (c, p), other in zip(said, keep & ~labels, strict=True) if other]
    assert len(others) >= 8
    assert all(p < 0.5 for snr, p in others if snr >= 8)
    # Faint streaks of a narrow-band signal can look like a pulse: few of them may.
    assert np.mean([p > 0.5 for _, p in others]) < 0.1


def test_the_model_knows_a_real_burst(spine: Classifier, shared_data: Path) -> None:
    source = open_source([str(shared_data / "real" / "FRB20180417A_askap_beam28.fil")])
    plan = Plan.make(SearchSettings(threads=1), source.header, 64)
    said = probabilities(source, plan, spine)
    [probability] = [p for c, p in said if abs(c.dm - 475) < 5 and c.snr > 12]
    assert probability > 0.9


def test_a_recipe_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("res = 32\nseed = 9\n")
    assert Recipe.load(path) == Recipe(res=32, seed=9)
    for wrong in ("res = 48", "epochs = 0", "colour = 1", "res =", "architecture = 'oak'"):
        path.write_text(wrong)
        with pytest.raises(ConfigError):
            Recipe.load(path)


@pytest.mark.slow
def test_from_a_recipe_to_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dataset, "SKY_SAMPLES", 8192)
    monkeypatch.setattr(dataset, "SKY_PULSES", 6)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("res = 32\nskies = 9\nheld_out = 1\nepochs = 2\n")
    models.train(recipe, tmp_path / "tiny", 1)
    assert "accuracy" in capsys.readouterr().out
    card = model_card(tmp_path / "tiny")
    assert card.facts["recipe"]["skies"] == 9
    assert card.facts["training"]["code"] == code_version()
    metrics = card.facts["metrics"]
    assert 0 <= metrics["accuracy"] <= 1
    assert {"burst", "chirp", "mixture"} <= set(metrics["false_positives_by_kind"])


def test_how_far_training_is_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = stand_in(40, 32)
    monkeypatch.setattr("mlppa.training.train.random_examples", lambda *_: examples)
    recipe = Recipe(res=32, skies=8, held_out=1, epochs=2)
    told: list[tuple[str, int, int]] = []

    def tell(*how_far: Any) -> None:
        told.append(how_far)

    kernel = Engine(1)
    fit(recipe, gather(recipe, kernel, tell), tell)
    evaluate(lambda images, features: np.ones(len(images), np.float32), recipe, kernel, tell)
    assert told[7] == ("searching skies", 8, 8)
    assert ("training", 1, 2) in told
    assert told[-1] == ("measuring", 10, 10)


def test_the_code_is_named_by_its_commit_or_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (Path(card.__file__).parents[2] / ".git").exists():
        assert re.fullmatch(r"commit [0-9a-f]{7,40}(-dirty)?", code_version())
    installed = tmp_path / "site-packages" / "mlppa" / "training" / "card.py"
    monkeypatch.setattr(card, "__file__", str(installed))
    assert code_version() == f"version {__version__}"
    (tmp_path / "site-packages" / ".git").mkdir(parents=True)
    assert code_version() == f"version {__version__}", "no commit there"


def test_measures_tell_a_perfect_network_from_a_useless_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset, "SKY_SAMPLES", 8192)
    examples = stand_in(40, 32)
    monkeypatch.setattr("mlppa.training.train.random_examples", lambda *_: examples)
    kernel = Engine(1)
    recipe = Recipe(res=32, held_out=1)
    right = examples.labels.astype(np.float32)
    perfect = evaluate(lambda images, features: right, recipe, kernel)
    assert (perfect["accuracy"], perfect["recall"]) == (1.0, 1.0)
    assert perfect["false_positive_rate"] == 0.0
    naive = evaluate(lambda images, features: np.ones(40, np.float32), recipe, kernel)
    assert (naive["recall"], naive["false_positive_rate"]) == (1.0, 1.0)
    assert naive["recall_by_snr"] == {
        **dict.fromkeys(naive["recall_by_snr"], None),
        "10 to 15": 1.0,
    }
    assert naive["false_positives_by_kind"]["burst"] == "20 of 20"
    assert naive["pulses"] == 10 * 20


def test_joined_examples_keep_their_skies() -> None:
    one = stand_in(8, 32)
    both = join([one, replace(one, skies=one.skies + 10)])
    assert both.skies.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 10, 10, 10, 10, 11, 11, 11, 11]
    assert both.take(both.skies > 5).labels.tolist() == one.labels.tolist()


def test_keras_runs_on_tensorflow() -> None:
    keras, _ = import_keras()
    assert keras.backend.backend() == "tensorflow"
