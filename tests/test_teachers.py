"""Networks that others learn of: trained once, kept, and heard together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlppa.training.architecture import build
from mlppa.training.fit import TEACHERS, batches, fit, forget_training, read_curves
from mlppa.training.recipe import Recipe
from mlppa.training.supply import Held
from mlppa.training.teachers import common_opinion, train_teachers

from .made import silent, stand_in

RECIPE = Recipe(architecture="mlppa_1", res=32, epochs=1, batch=32, balance="none", teachers=2)


def test_teachers_are_trained_once_and_differ(tmp_path: Path) -> None:
    examples = stand_in(300, 32)
    checked = examples.skies % 5 == 0
    parts = Held(examples.take(~checked)), examples.take(checked)
    first, second = train_teachers(RECIPE, *parts, tmp_path, silent)
    assert np.abs(first(examples) - second(examples)).max() > 0
    weights = sorted((tmp_path / TEACHERS).rglob("*.onnx"))
    assert len(weights) == 2
    made = [path.stat().st_mtime_ns for path in weights]
    # another seed learns of the same ones
    train_teachers(RECIPE.model_copy(update={"seed": 7}), *parts, tmp_path, silent)
    assert [path.stat().st_mtime_ns for path in weights] == made
    train_teachers(RECIPE.model_copy(update={"learning_rate": 1e-4}), *parts, tmp_path, silent)
    again = [path.stat().st_mtime_ns for path in weights]
    assert again != made
    others = replace(parts[0], origin="another set"), parts[1]
    recipe = RECIPE.model_copy(update={"learning_rate": 1e-4})
    train_teachers(recipe, *others, tmp_path, silent)
    assert not set(again) & {path.stat().st_mtime_ns for path in weights}
    forget_training(tmp_path)
    assert not (tmp_path / TEACHERS).exists()


def test_what_they_say_together_is_the_mean_of_their_log_odds() -> None:
    examples = stand_in(4, 32)
    said = (np.full(4, 0.9, np.float32), np.array([0.1, 0.9, 1.0, 0.0], np.float32))
    together = common_opinion([lambda _: said[0], lambda _: said[1]], examples)
    assert together[:2] == pytest.approx([0.5, 0.9], abs=1e-5)
    assert 0.9 < together[2] < 1
    assert 0 < together[3] < 0.1


@pytest.mark.parametrize("trust", [0.0, 0.7, 1.0])
def test_an_opinion_is_learned_as_far_as_it_is_trusted(trust: float) -> None:
    examples = stand_in(64, 32)
    recipe = RECIPE.model_copy(update={"trust": trust, "batch": 64})
    opinion = np.where(examples.labels, 0.8, 0.3).astype(np.float32)
    shown = Held(examples)
    said = {image.tobytes(): p for image, p in zip(examples.images, opinion, strict=True)}
    by_image = lambda some: np.array([said[one.tobytes()] for one in some.images], np.float32)  # noqa: E731
    _, targets, _ = next(batches(shown, recipe, build("mlppa_1", 32, 0), by_image))
    expected = np.where(examples.labels, 1 - 0.2 * trust, 0.3 * trust)
    np.testing.assert_allclose(np.sort(targets[:, 0]), np.sort(expected), atol=1e-6)


def test_a_network_comes_to_its_teachers_opinion(tmp_path: Path) -> None:
    examples = stand_in(400, 32)
    checked = examples.take(examples.skies % 5 == 0)
    recipe = RECIPE.model_copy(update={"trust": 1.0, "epochs": 4, "learning_rate": 5e-3})
    # they are wrong about everything
    fit(
        recipe,
        Held(examples),
        checked,
        tmp_path,
        silent,
        opinion=lambda some: np.where(some.labels, 0.1, 0.9).astype(np.float32),
    )
    assert read_curves(tmp_path / "curves.csv")["val_accuracy"][-1] < 0.2
