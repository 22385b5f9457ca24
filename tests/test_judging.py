"""Judging: reports and tables say what is so, on sets that nobody was trained on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlppa.classify import list_models, model_card
from mlppa.classify.cost import layers
from mlppa.config import SettingError
from mlppa.dedisperse.oracle import Oracle
from mlppa.errors import ConfigError
from mlppa.training.card import code_version
from mlppa.training.evaluate import report, spreads
from mlppa.training.judging import Judged, Judgements
from mlppa.training.recipe import Recipe
from mlppa.training.shards import Dataset
from mlppa.training.train import Sets, train
from mlppa.training.versus import Row, _row

from .calling import Call
from .made import stand_in


def test_a_report_says_what_is_so(tmp_path: Path) -> None:
    examples = stand_in(400, 32)
    examples.features[:, 1] = np.tile([6.0, 7.5, 12.0, 40.0], 100)
    perfect = examples.labels * 0.9 + 0.09
    # every third pulse is missed, every hundredth of the others passes
    wrong = perfect.copy()
    wrong[np.flatnonzero(examples.labels)[::3]] = 0.1
    wrong[np.flatnonzero(~examples.labels)[::100]] = 0.9

    models = (
        Judged("right", 0.5, perfect.astype(np.float32), {"seed": 1}),
        Judged("wrong", 0.5, wrong.astype(np.float32), {"seed": 2}),
        Judged("unsure", 0.5, perfect.astype(np.float32) - 0.04, {}),
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
    quarter = live & (examples.facts["part"] < 0.5) & (judged.snrs >= 8)
    told = other["by_part"]["a quarter of the band"]["recall_snr_8_up"]
    assert (told["hits"], told["of"]) == (int((wrong[quarter] > 0.5).sum()), int(quarter.sum()))
    assert 0 < told["hits"] < told["of"]
    # as in a search, a network must be surer than 0.95 in a part of the band
    told = content["models"]["unsure"]["by_part"]
    assert told["a quarter of the band"]["recall_snr_8_up"]["hits"] == 0
    assert told["all"]["recall_snr_8_up"]["value"] == 1
    assert other["by_part"]["a half"]["false_positive_rate"]["of"] == 0
    assert content["seeds"][0]["models"] == ["right", "wrong"]
    assert right["false_positives_per_hour"] == 0
    false = int((judged.live & ~examples.labels & (wrong > 0.5)).sum())
    live_share = (judged.live & ~examples.labels).sum() / (~examples.labels).sum()
    expected = 2 * false / live_share / (0.01 * len(examples.tallies))
    assert other["false_positives_per_hour"] == pytest.approx(expected)
    assert content["seeds"][0]["accuracy"]["std"] > 0
    assert "| right |" in (tmp_path / "report.md").read_text()


def test_a_report_does_not_take_different_models_for_seeds_of_one() -> None:
    examples = stand_in(40, 32)
    said = examples.labels.astype(np.float32)
    recipes: tuple[dict[str, Any], ...] = ({}, {}, {"seed": 1}, {"seed": 1}, {"seed": 2, "res": 9})
    models = tuple(Judged(str(n), 0.5, said, recipe) for n, recipe in enumerate(recipes))
    assert spreads(Judgements(examples.facts, examples.snrs, models, examples.tallies)) == []


def test_sets_that_nothing_can_be_measured_on_are_refused(tmp_path: Path) -> None:
    def dataset(**draw: object) -> Dataset:
        usual = {"seed": 1, "threshold": 5.2, "recordings": [], "unseen": False}
        return Dataset(tmp_path, 64, (), {"draw": usual | draw})

    recipe = Recipe(res=64)
    for sets, cause in (
        (Sets(unseen=dataset()), "skies to train on"),
        (Sets(unseen=Dataset(tmp_path, 32, (), {"draw": {"unseen": True}})), "of 32 pixels"),
        (Sets(shown=dataset(unseen=True)), "unseen True"),
        (Sets(shown=dataset(seed=2)), "seed 2"),
        (Sets(shown=dataset(threshold=6.0)), "threshold 6.0"),
    ):
        with pytest.raises(SettingError, match=cause):
            train(recipe, tmp_path / "model", Oracle(), sets)


def test_the_table_of_the_talk_counts_what_it_says() -> None:
    reference, truth, mine, other = (
        np.array(list(bits)) == "1" for bits in ("11110000", "11001100", "10101010", "00001000")
    )
    row = _row("mine", 0, (mine, other), reference, truth, np.ones(8, np.bool_))
    assert row == Row(
        model="mine",
        found=1,
        not_found=1,
        false_confirmed=1,
        more_true=1,
        more_false=1,
        unique=0,
    )
    assert _row("other", 1, (mine & ~truth, other), reference, truth, truth | ~truth).unique == 1


def test_what_ships_is_what_its_recipe_makes_and_not_too_large() -> None:
    cards = [model_card(name) for name in list_models()]
    for card in cards:
        recipe = Recipe.load(card.folder / "recipe.toml")
        assert Recipe(**card.facts["recipe"]) == recipe, card.name
    total = sum(f.stat().st_size for c in cards for f in c.folder.iterdir())
    assert total < 60e6


def test_models_of_one_name_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two of the models are called 'spine-64'"):
        Judgements.of(["spine-64", model_card("spine-64").folder], [])


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


@pytest.mark.parametrize(("model", "mflop"), [("64_3", 2.69), ("32_3", 0.33)])
def test_operations_are_counted(model: str, mflop: float) -> None:
    every = layers(model_card(model))
    assert sum(layer.flop for layer in every) / 1e6 == pytest.approx(mflop, rel=0.01)
    assert sum(layer.parameters for layer in every) == model_card(model).facts["parameters"]
