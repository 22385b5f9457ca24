"""Training: networks that learn from any supply, go on when interrupted, and are measured."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlppa import __version__
from mlppa.classify import load_model, load_table, model_card
from mlppa.classify.card import ONNX, file_sha256
from mlppa.classify.engines import import_keras
from mlppa.errors import ConfigError, ModelError
from mlppa.images import FEATURES
from mlppa.training import card
from mlppa.training.architecture import OF_IMAGES, OF_LISTS, RESOLUTIONS, build
from mlppa.training.card import code_version, save_model
from mlppa.training.evaluate import report
from mlppa.training.examples import CLASSES, FACTS, TALLY, Examples, join
from mlppa.training.fit import BEGUN, Fitted, fit, read_curves
from mlppa.training.judging import Judged, Judgements, judge_of
from mlppa.training.pretrain import pretrain, turned
from mlppa.training.recipe import Recipe
from mlppa.training.shards import Dataset, Shard, write_shard
from mlppa.training.skies import Draw
from mlppa.training.supply import Held, Simulated, from_disk, simulated
from mlppa.training.train import as_judge, facts

from .calling import Call


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


def stand_in(count: int, res: int) -> Examples:
    """Images of noise, half of them with an upright bow-tie in the middle."""
    rng = np.random.default_rng(5)
    labels = np.arange(count) % 2 == 0
    images = rng.standard_normal((count, res, res)).astype(np.float32)
    rows, columns = np.indices((res, res)) - res // 2
    spread = 1 + np.abs(rows)
    images[labels] += (np.abs(columns) <= spread / 2 + 1) * 6 / np.sqrt(spread)
    features = np.ones((count, len(FEATURES)), np.float32)
    features[:, :4] = 8, 10, 0.2, 1.5
    facts = np.zeros(count, FACTS)
    facts["label"], facts["sky"] = labels, np.arange(count) // 4
    facts["kind"] = np.where(labels, 0, len(CLASSES) - 1)
    facts["dm"], facts["width_ms"], facts["band"] = np.where(labels, 300, 3), 3.0, 0.9
    facts["f_lo_mhz"], facts["f_hi_mhz"] = 1200, 1500
    # one in ten is hardly dispersed
    facts["sweep"], facts["width_samples"] = np.where(np.arange(count) % 20 < 2, 4, 100), 3
    return Examples(images.astype(np.float16), features, facts, np.empty(0, TALLY))


def silent(*_: object) -> None:
    pass


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
    assert not (folder / BEGUN).exists()

    told = facts(recipe, fitted, 400, 100, None) | {"metrics": {"accuracy": 1.0}}
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


def test_fewer_examples_than_a_batch_are_a_short_one(tmp_path: Path) -> None:
    recipe = Recipe(architecture="mlppa_1", res=32, epochs=1, pretrain_epochs=1, batch=64)
    assert trained(recipe, stand_in(20, 32), tmp_path).epochs == 1


def test_training_ends_without_progress(tmp_path: Path) -> None:
    recipe = Recipe(architecture="mlppa_1", res=32, epochs=30, patience=2, batch=32)
    examples = stand_in(200, 32)
    rng = np.random.default_rng(0)
    examples.facts["label"] = rng.random(200) < 0.5
    assert trained(recipe, examples, tmp_path).epochs < 30


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
    dataset = Dataset(tmp_path, 64, tuple(shards), {})
    expected = np.flatnonzero(examples.skies % 5 != 0).tolist()
    for most in (1 << 30, 0):
        monkeypatch.setattr("mlppa.training.supply.MOST_HELD_BYTES", most)
        supply, checked = from_disk(dataset, 32, silent)
        assert isinstance(supply, Held) == (most > 0)
        rng = np.random.default_rng(1)
        for _ in range(2):
            pieces = list(supply.pieces(rng))
            samples = np.concatenate([piece.facts["sample"] for piece in pieces])
            assert sorted(samples.tolist()) == expected
            assert samples.tolist() != expected
        assert set(checked.skies % 5) == {0}
        middle = examples.images[int(samples[0]), 16:48, 16:48]
        np.testing.assert_array_equal(pieces[0].images[0], middle)


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


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_from_skies_to_a_report(tmp_path: Path, call: Call) -> None:
    """The whole of it, with a tiny recipe: data, training, evaluation, loading, comparison."""
    seen, unseen, model = tmp_path / "seen", tmp_path / "unseen", tmp_path / "tiny"
    for folder, more in ((seen, "--seed 1 --res 32"), (unseen, "--seed 2 --res 64 --unseen")):
        ended = call(*f"models dataset -o {folder} --images 150 --processes 1 {more}".split())
        assert ended.code == 0, ended.err
        assert (folder / "sheet.png").stat().st_size > 10_000
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("res = 32\nskies = 9\nepochs = 2\nbatch = 16\n")
    words = f"models train --recipe {recipe} -o {model} --data {seen} --unseen {unseen}"
    ended = call(*words.split())
    assert ended.code == 0, ended.err
    assert "accuracy" in ended.out
    card = model_card(model)
    assert card.facts["training"]["code"] == code_version()
    assert 0 <= card.facts["metrics"]["accuracy"] <= 1
    assert 0 <= card.facts["threshold"] <= 1

    report = tmp_path / "report"
    ended = call(*f"models evaluate {model} spine-64 -o {report} --data {unseen}".split())
    assert ended.code == 0, ended.err
    content = json.loads((report / "report.json").read_text())
    # as Keras had it when the card was written
    assert content["models"]["tiny"]["accuracy"]["value"] == pytest.approx(
        card.facts["metrics"]["accuracy"], abs=1e-3
    )
    assert set(content["models"]) == {"tiny", "spine-64"}
    text = (report / "report.md").read_text()
    assert "recall, S/N >= 8, dispersed" in text
    for picture in ("roc.png", "recall.png", "reliability.png"):
        assert picture in text
        assert (report / picture).stat().st_size > 10_000

    table = tmp_path / "table"
    ended = call(*f"models compare {model} spine-64 -o {table} --seconds 15".split())
    assert ended.code == 0, ended.err
    assert "| spine-64 |" in ended.out
    rows = {row["model"]: row for row in json.loads((table / "versus.json").read_text())["rows"]}
    assert rows["spine-64"]["found"] >= 1


def test_a_report_says_what_is_so(tmp_path: Path) -> None:
    examples = stand_in(400, 32)
    examples.features[:, 1] = np.tile([6.0, 7.5, 12.0, 40.0], 100)
    perfect = examples.labels * 0.9 + 0.05
    # every tenth pulse is missed, every hundredth of the others passes
    wrong = perfect.copy()
    wrong[np.flatnonzero(examples.labels)[::10]] = 0.1
    wrong[np.flatnonzero(~examples.labels)[::100]] = 0.9

    models = (
        Judged("right", 0.5, perfect.astype(np.float32), {"seed": 1}),
        Judged("wrong", 0.5, wrong.astype(np.float32), {"seed": 2}),
    )
    judged = Judgements(examples.facts, examples.snrs, models, examples.tallies)
    content = report(judged, tmp_path, {"data": "made up"})
    right, other = content["models"]["right"], content["models"]["wrong"]
    assert right["recall"]["value"] == right["f1"] == right["roc_auc"] == 1
    assert right["false_positive_rate"]["value"] == 0
    assert other["recall_by"]["snr"]["7 to 8"]["of"] == 0  # all odd ones are others
    live = judged.live & examples.labels
    assert other["recall"]["hits"] == int((wrong[live] > 0.5).sum())
    clear = live & (examples.facts["sweep"] > 9)
    assert other["recall_snr_8_up_dispersed"]["of"] == int((clear & (judged.snrs >= 8)).sum())
    assert other["recall_by"]["sweep_widths"]["1 to 2"]["of"] == int((live & ~clear).sum())
    assert content["seeds"][0]["models"] == ["right", "wrong"]
    assert content["seeds"][0]["accuracy"]["std"] > 0
    assert "| right |" in (tmp_path / "report.md").read_text()


def test_models_of_one_name_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two of the models are called 'spine-64'"):
        Judgements.of(["spine-64", model_card("spine-64").folder], [])


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
