"""Training: networks that learn from any supply, go on when interrupted, and are measured."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlppa import __version__
from mlppa.classify import load_model, load_table, model_card
from mlppa.classify.card import ONNX, file_sha256
from mlppa.classify.engines import import_keras
from mlppa.errors import ConfigError, EnvironmentFault, ModelError
from mlppa.images import FEATURES
from mlppa.training import card
from mlppa.training.architecture import OF_IMAGES, OF_LISTS, RESOLUTIONS, build
from mlppa.training.card import code_version, save_model
from mlppa.training.examples import Examples, join
from mlppa.training.fit import (
    BEGUN,
    Fitted,
    _loss,
    _rate,
    augmented,
    batches,
    fit,
    forget_training,
    read_curves,
)
from mlppa.training.judging import judge_of
from mlppa.training.pretrain import pretrain, turned
from mlppa.training.recipe import Recipe
from mlppa.training.shards import MANIFEST, Dataset, Shard, write_shard
from mlppa.training.skies import Draw
from mlppa.training.supply import Held, Simulated, from_disk, simulated
from mlppa.training.train import Sets, as_judge, facts

from .made import silent, stand_in


@pytest.mark.parametrize("architecture", OF_IMAGES)
@pytest.mark.parametrize("res", RESOLUTIONS)
def test_every_network_takes_every_resolution_and_is_plain_keras(
    architecture: str, res: int
) -> None:
    if architecture.startswith("efficientnet") and res != 64:
        pytest.skip("slow to build, and the same at every resolution")
    model = build(architecture, res, seed=0)
    shapes = [tuple(i.shape) for i in model.inputs]
    assert shapes[0] == (None, res, res, 1)
    assert shapes[1:] in ([], [(None, len(FEATURES))])
    assert model.output_shape in ((None, 1), (None, 2))
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    if architecture == "strided":
        assert model.count_params() < 35_000


@pytest.mark.parametrize(
    ("res", "layers", "parameters"),
    [(256, 3, 9_985_022), (256, 2, 30_484_114), (64, 3, 252_926), (32, 3, 7_166)],
)
def test_the_ml_ppa_family_has_its_parameters(res: int, layers: int, parameters: int) -> None:
    model = build(f"mlppa_{layers}", res, seed=0)
    assert model.count_params() == parameters
    kernels = [w.shape for w in model.trainable_weights if len(w.shape) == 4]
    assert kernels == [(5, 5, max(4 * n, 1), 4 * (n + 1)) for n in range(layers)]


@pytest.mark.parametrize("architecture", OF_LISTS)
def test_networks_for_lists_take_rows(architecture: str) -> None:
    model = build(architecture, 64, seed=0)
    assert [tuple(i.shape) for i in model.inputs] == [(None, 7)]
    units = [w.shape[1] for w in model.weights if len(w.shape) == 2]
    assert units == ([64, 32, 1] if architecture == "tabular_64_32" else [42, 1])


def test_an_unknown_architecture_or_resolution_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown"):
        build("cathedral", 64, 0)
    with pytest.raises(ConfigError, match="48 pixels"):
        build("strided", 48, 0)


def test_first_weights_follow_the_seed_and_the_recipe() -> None:
    def spread(initialiser: str | None, seed: int) -> Any:
        return build("mlppa_1", 32, seed, initialiser).get_weights()[0]

    assert (spread("HeNormal", 1) == spread("HeNormal", 1)).all()
    assert (spread("HeNormal", 1) != spread("HeNormal", 2)).any()
    assert spread("HeNormal", 1).std() > 1.3 * spread(None, 1).std()


def trained(recipe: Recipe, examples: Examples, folder: Path) -> Fitted:
    unseen = examples.skies % 5 == 0
    supply = Held(examples.take(~unseen))
    return fit(recipe, supply, examples.take(unseen), folder, silent)


RECIPES: dict[str, dict[str, Any]] = {
    "strided": {},
    "mlppa_2": {"loss": "focal", "schedule": "restarts", "float16": True},
    "galaxy": {"balance": "oversample", "schedule": "constant", "shift_px": 1, "noise": 0.2},
    "tabular_42": {"balance": "none", "schedule": "exponential", "learning_rate": 3e-2},
}


@pytest.mark.parametrize("architecture", RECIPES)
def test_a_network_learns_is_written_and_reads_back(architecture: str, tmp_path: Path) -> None:
    recipe = Recipe(
        architecture=architecture,
        res=32,
        epochs=6,
        batch=32,
        **{"learning_rate": 5e-3} | RECIPES[architecture],
    )
    examples = stand_in(500, 32)
    folder = tmp_path / "stand-in"
    fitted = trained(recipe, examples, folder)
    expected = as_judge(fitted.model)(examples)
    if architecture != "galaxy":  # its running means need more steps than a test has
        assert ((expected > 0.5) == examples.labels).mean() > 0.95
    assert (folder / "curves.png").exists()
    # until the model is safe on the disk
    assert (folder / BEGUN).exists()
    forget_training(folder)
    assert not (folder / BEGUN).exists()

    told = facts(recipe, fitted, (400, 100), Sets()) | {"metrics": {"accuracy": 1.0}}
    save_model(fitted.model, folder, told)
    card = model_card(folder)
    assert Recipe(**card.facts["recipe"]) == recipe
    said = judge_of(folder)(examples)
    np.testing.assert_allclose(said, expected, atol=1e-4)
    if card.res:
        classifier = load_model(folder, device="cpu", engine="tensorflow")
        again = classifier(examples.images.astype(np.float32), examples.features)
        np.testing.assert_allclose(again, expected, atol=1e-4)
    with pytest.raises(ModelError, match="does not judge lists" if card.res else "not images"):
        load_table(folder) if card.res else load_model(folder)
    assert not list(tmp_path.rglob("*.part"))


def test_weights_of_16_bit_halve_the_graph(tmp_path: Path) -> None:
    model = build("mlppa_2", 32, seed=0)
    save_model(model, tmp_path / "whole", {"recipe": {"float16": False}})
    save_model(model, tmp_path / "half", {"recipe": {"float16": True}})
    whole, half = ((tmp_path / name / ONNX).stat().st_size for name in ("whole", "half"))
    assert half < 0.55 * whole


def test_a_network_learns_which_way_round_images_are(tmp_path: Path) -> None:
    examples = stand_in(600, 32)
    # in one corner, as seldom in a sky
    examples.images[:, :8, :8] += 3
    recipe = Recipe(architecture="mlppa_1", res=32, pretrain_epochs=3, epochs=1, batch=32)
    model = build("mlppa_1", 32, seed=1)
    before = [weights.copy() for weights in model.get_weights()]
    assert pretrain(model, recipe, Held(examples)) > 0.9
    changed = [bool((a != b).any()) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [True] * 4 + [False] * 2, "the last layer has yet to begin"
    ways = turned(examples.take(np.arange(4)), np.arange(4))
    image = examples.images[3].astype(np.float32)
    np.testing.assert_array_equal(ways[3], image[::-1, ::-1])
    np.testing.assert_array_equal(ways[0], examples.images[0].astype(np.float32))
    assert trained(recipe, examples, tmp_path).epochs == 1


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    recipe = Recipe(architecture="mlppa_1", res=32, epochs=5, batch=32)
    examples = stand_in(300, 32)
    told: list[int] = []

    def interrupt(what: str, done: int, total: int) -> None:
        told.append(done)
        if told == [1, 2, 3]:
            raise KeyboardInterrupt

    unseen = examples.skies % 5 == 0
    parts = Held(examples.take(~unseen)), examples.take(unseen)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, *parts, tmp_path, interrupt)
    assert (tmp_path / BEGUN).exists()
    fitted = fit(recipe, *parts, tmp_path, interrupt)
    # the third epoch was not yet safe when it was told
    assert told in ([1, 2, 3, 4, 5], [1, 2, 3, 3, 4, 5])
    assert fitted.epochs == len(read_curves(tmp_path / "curves.csv")["epoch"]) == len(told)


def test_what_was_begun_by_another_recipe_is_not_gone_on_with(tmp_path: Path) -> None:
    recipe = Recipe(architecture="mlppa_1", res=32, epochs=2, batch=32)
    examples = stand_in(300, 32)
    unseen = examples.skies % 5 == 0
    parts = Held(examples.take(~unseen)), examples.take(unseen)

    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, *parts, tmp_path, interrupt)
    other = recipe.model_copy(update={"learning_rate": 1e-4})
    fitted = fit(other, *parts, tmp_path, silent)
    rates = read_curves(tmp_path / "curves.csv")["learning_rate"]
    assert fitted.epochs == len(rates) == 2
    assert max(rates) <= 1e-4


def test_what_was_begun_with_other_examples_is_not_gone_on_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = Recipe(architecture="mlppa_1", res=32, epochs=2, batch=32)
    examples = stand_in(300, 32)
    unseen = examples.skies % 5 == 0
    shown, checked = examples.take(~unseen), examples.take(unseen)

    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, Held(shown, "one set"), checked, tmp_path, interrupt)
    assert fit(recipe, Held(shown, "another"), checked, tmp_path, silent).epochs == 2
    assert "another recipe, data or code; it begins anew" in caplog.text


def test_fewer_examples_than_a_batch_are_a_short_one(tmp_path: Path) -> None:
    recipe = Recipe(architecture="mlppa_1", res=32, epochs=1, pretrain_epochs=1, batch=64)
    assert trained(recipe, stand_in(20, 32), tmp_path).epochs == 1


def test_training_ends_without_progress(tmp_path: Path) -> None:
    recipe = Recipe(architecture="mlppa_1", res=32, epochs=30, patience=2, batch=32)
    examples = stand_in(200, 32)
    rng = np.random.default_rng(0)
    examples.facts["label"] = rng.random(200) < 0.5
    assert trained(recipe, examples, tmp_path).epochs < 30
    losses = read_curves(tmp_path / "curves.csv")["val_loss"]
    assert len(losses) - 1 - int(np.argmin(losses)) == 2


def test_every_supply_gives_every_example_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = stand_in(60, 64)
    examples.facts["sample"] = np.arange(60)
    shards = []
    for number in range(3):
        name = f"shard-{number}.h5"
        write_shard(tmp_path / name, examples.take(np.arange(20 * number, 20 * number + 20)))
        shards.append(Shard(name, 20, 10, file_sha256(tmp_path / name)))
    (tmp_path / MANIFEST).write_text("the list")
    dataset = Dataset(tmp_path, 64, tuple(shards), {})
    expected = np.flatnonzero(examples.skies % 5 != 0).tolist()
    for most in (1 << 30, 0):
        monkeypatch.setattr("mlppa.training.supply.MOST_HELD_BYTES", most)
        supply, checked = from_disk(dataset, 32, silent)
        assert isinstance(supply, Held) == (most > 0)
        assert supply.count == len(expected)
        assert supply.origin == file_sha256(tmp_path / MANIFEST)
        rng = np.random.default_rng(1)
        for _ in range(2):
            pieces = list(supply.pieces(rng))
            samples = np.concatenate([piece.facts["sample"] for piece in pieces])
            assert sorted(samples.tolist()) == expected
            assert samples.tolist() != expected
        assert set(checked.skies % 5) == {0}
        middle = examples.images[int(samples[0]), 16:48, 16:48]
        np.testing.assert_array_equal(pieces[0].images[0], middle)


@pytest.mark.parametrize("most", [1, 5, 7, 100])
def test_some_are_enough_to_check_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    examples = stand_in(200, 32)
    examples.facts["sample"] = np.arange(200)
    shards = []
    for number in range(8):
        name = f"shard-{number}.h5"
        write_shard(tmp_path / name, examples.take(np.arange(25 * number, 25 * number + 25)))
        shards.append(Shard(name, 25, 12, file_sha256(tmp_path / name)))
    (tmp_path / MANIFEST).write_text("the list")
    monkeypatch.setattr("mlppa.training.supply.MOST_CHECKED", most)
    supply, checked = from_disk(Dataset(tmp_path, 32, tuple(shards), {}), 32, silent)
    every = np.flatnonzero(examples.skies % 5 == 0)
    assert len(every) == 40
    np.testing.assert_array_equal(checked.facts["sample"], every[:: -(-40 // most)])
    assert supply.count == 160, "all others are trained on"


def test_skies_that_do_not_fit_into_memory_are_simulated_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sky(draw: Draw, kernel: object) -> Examples:
        one = stand_in(8, 32)
        one.facts["sky"] = draw.number
        return one

    monkeypatch.setattr("mlppa.training.supply.random_examples", sky)
    monkeypatch.setattr("mlppa.training.supply.MOST_HELD_BYTES", 0)
    supply, checked = simulated(Recipe(res=32, skies=10), None, silent)  # type: ignore[arg-type]
    assert isinstance(supply, Simulated)
    assert set(checked.skies) == {0, 5}
    for _ in range(2):
        given = join(supply.pieces(np.random.default_rng(2)))
        assert sorted(set(given.skies)) == [1, 2, 3, 4, 6, 7, 8, 9]
        assert len(given.facts) == supply.count == 64


def test_a_recipe_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("res = 32\nseed = 9\n")
    assert Recipe.load(path) == Recipe(res=32, seed=9)
    for wrong in ("res = 48", "epochs = 0", "colour = 1", "res =", "architecture = 'oak'"):
        path.write_text(wrong)
        with pytest.raises(ConfigError):
            Recipe.load(path)


def test_classes_are_balanced_by_weight_or_by_number() -> None:
    examples = stand_in(200, 32)
    few = examples.take(np.arange(200)[(np.arange(200) % 2 == 1) | (np.arange(200) < 22)])
    assert 0.05 < few.labels.mean() < 0.15
    shown: dict[str, tuple[float, float]] = {}
    for balance in ("none", "weights", "oversample"):
        recipe = Recipe(architecture="mlppa_1", res=32, balance=balance, batch=len(few.facts))
        _, labels, weights = next(batches(Held(few), recipe, build("mlppa_1", 32, 0)))
        pulses = labels[:, 0] > 0.5
        shown[balance] = float(weights[pulses].sum()), float(weights[~pulses].sum())
    assert shown["none"] == pytest.approx((few.labels.sum(), (~few.labels).sum()))
    assert shown["weights"][0] == pytest.approx(shown["weights"][1], rel=1e-3)
    # a batch of what is twice as long: about half of it are pulses
    assert shown["oversample"][0] == pytest.approx(shown["oversample"][1], rel=0.4)


def test_examples_are_moved_and_get_noise() -> None:
    image = np.zeros((1, 32, 32), np.float32)
    image[0, 16, 16] = 100
    rng = np.random.default_rng(0)
    places = set()
    for _ in range(60):
        moved = augmented(image.copy(), Recipe(shift_px=1), rng)[0]
        places.add(tuple(map(int, np.unravel_index(moved.argmax(), moved.shape))))
    assert places == {(r, c) for r in (15, 16, 17) for c in (15, 16, 17)}
    noisy = [augmented(image.copy(), Recipe(noise=2.0), rng)[0, :8].std() for _ in range(200)]
    assert min(noisy) < 0.2 < 1.8 < max(noisy) < 2.2


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", (1e-3, 1e-3, 1e-3)),
        ("cosine", (1e-3, 5.1e-4, 2e-5)),
        ("exponential", (1e-3, 1e-4, 1e-5)),
        ("restarts", (1e-3, 0.00097, 0.0)),
    ],
)
def test_learning_rates_follow_their_schedule(schedule: str, expected: tuple[float, ...]) -> None:
    keras, _ = import_keras()
    rate = _rate(keras, Recipe(schedule=schedule), 700)  # type: ignore[arg-type]
    found = [float(rate(step)) if callable(rate) else rate for step in (0, 350, 700)]
    assert found == pytest.approx(expected, rel=0.05, abs=2e-5)


def test_what_is_plain_counts_less_for_the_focal_loss() -> None:
    keras, _ = import_keras()
    truth = np.array([[1.0], [1.0]], np.float32)
    plain, hard = np.array([[4.0]], np.float32), np.array([[-1.0]], np.float32)

    def ratio(loss: str) -> float:
        compute = _loss(keras, Recipe(loss=loss))  # type: ignore[arg-type]
        return float(np.sum(compute(truth[:1], plain)) / np.sum(compute(truth[:1], hard)))

    assert ratio("focal") < 0.01 * ratio("bce")


def test_tensorboard_is_asked_for_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlppa.training.fit.has_tensorboard", lambda: False)
    examples = stand_in(40, 32)
    with pytest.raises(EnvironmentFault, match="TensorBoard: it is not installed; install"):
        fit(Recipe(res=32), Held(examples), examples, tmp_path, silent, tensorboard=True)


def test_the_code_is_named_by_its_commit_or_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (Path(card.__file__).parents[2] / ".git").exists():
        assert re.fullmatch(r"commit [0-9a-f]{7,40}(-dirty-[0-9a-f]{8})?", code_version())
    installed = tmp_path / "site-packages" / "mlppa" / "training" / "card.py"
    monkeypatch.setattr(card, "__file__", str(installed))
    assert code_version() == f"version {__version__}"
    empty = tmp_path / "empty" / "mlppa" / "training" / "card.py"
    monkeypatch.setattr(card, "__file__", str(empty))
    (tmp_path / "empty" / ".git").mkdir(parents=True)
    assert code_version() == f"version {__version__}", "no commit there"


def test_code_that_was_changed_is_named_by_its_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "mlppa" / "training" / "card.py"
    source.parent.mkdir(parents=True)
    source.write_text("one\n")
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(card, "__file__", str(source))
    told = [code_version()]
    for text in ("two\n", "three\n"):
        source.write_text(text)
        assert code_version() == told[-1], "what runs stays as it is"
        card._code_of.cache_clear()
        told.append(code_version())
    assert len(set(told)) == 3
    assert all(one.startswith(told[0] + "-dirty-") for one in told[1:])


def test_joined_examples_keep_their_skies() -> None:
    one = stand_in(8, 32)
    two = one.facts.copy()
    two["sky"] += 10
    both = join([one, replace(one, facts=two)])
    assert both.skies.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 10, 10, 10, 10, 11, 11, 11, 11]
    assert both.take(both.skies > 5).labels.tolist() == one.labels.tolist()


def test_keras_runs_on_tensorflow() -> None:
    keras, _ = import_keras()
    assert keras.backend.backend() == "tensorflow"
