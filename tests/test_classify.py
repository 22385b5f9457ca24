"""The classifier: fixed shape, any number of images, and no surprise from a damaged model."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mlppa.classify import (
    Classifier,
    Engine,
    classify,
    list_models,
    load_model,
    model_card,
)
from mlppa.classify import card as shelf
from mlppa.classify.engines import choose_engine, import_keras, refuse_untrusted
from mlppa.classify.table import COLUMNS
from mlppa.data import Coverage, History, ImageBatch, Searched
from mlppa.errors import EnvironmentFault, ModelError
from mlppa.images import FEATURES
from mlppa.training.architecture import build
from mlppa.training.card import save_model
from tests.conftest import MetricDelta

type Float32 = NDArray[np.float32]

RES = 32
BATCH = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model: its numbers mean nothing, but they are always the same."""
    where = tmp_path_factory.mktemp("models") / "untrained_32"
    save_model(build("strided", RES, seed=1), where, {"version": 1})
    return where


@pytest.fixture(scope="module", params=["onnx", "tensorflow"])
def classifier(folder: Path, request: pytest.FixtureRequest) -> Classifier:
    return load_model(folder, batch=BATCH, device="cpu", engine=request.param)


def some(count: int, seed: int = 0) -> tuple[Float32, Float32]:
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 3, (count, RES, RES)).astype(np.float32)
    features = rng.uniform(0, 9, (count, len(FEATURES))).astype(np.float32)
    return images, features


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "damaged"))


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH])
def test_a_probability_does_not_depend_on_neighbours_or_padding(
    classifier: Classifier, count: int
) -> None:
    images, features = some(count)
    together = classifier(images, features)
    assert together.shape == (count,)
    assert together.dtype == np.float32
    assert ((together >= 0) & (together <= 1)).all()
    alone = [classifier(images[i : i + 1], features[i : i + 1])[0] for i in range(count)]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    if count > 1:
        assert np.ptp(together) > 1e-3


def test_no_images_cost_nothing(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "_network", None)
    assert classifier(*some(0)).shape == (0,)


@pytest.mark.parametrize("engine", ["tensorflow", "onnx"])
def test_it_is_run_once_for_each_batch(folder: Path, engine: Engine) -> None:
    fresh = load_model(folder, batch=BATCH, device="cpu", engine=engine)
    network, shapes = fresh._network, []

    def watched(images: Float32, features: Float32) -> Float32:
        shapes.append((images.shape, features.shape))
        return network(images, features)

    fresh._network = watched
    for count in (1, 5, 13, 40):
        fresh(*some(count))
    counts = [1, 5, 8, 5, 8, 8, 8, 8, 8]
    assert shapes == [((n, RES, RES), (n, len(FEATURES))) for n in counts]


def test_normalisation_belongs_to_the_model(classifier: Classifier) -> None:
    images, features = some(4)
    images[0] = 5.0
    expected = classifier(images, features)
    np.testing.assert_allclose(classifier(7 * images + 11, features), expected, atol=1e-4)


def test_both_inputs_matter(classifier: Classifier) -> None:
    images, features = some(4)
    others, other_features = some(4, seed=1)
    assert np.abs(classifier(others, features) - classifier(images, features)).max() > 1e-3
    assert np.abs(classifier(images, other_features) - classifier(images, features)).max() > 1e-3


def test_what_does_not_fit_is_refused(classifier: Classifier) -> None:
    images, features = some(3)
    with pytest.raises(ModelError, match="shapes"):
        classifier(images[:, :16, :16], features)
    with pytest.raises(ModelError, match="shapes"):
        classifier(images, features[:2])
    images[1, 3, 3] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        classifier(images, features)


def test_the_card_tells_without_loading(folder: Path, classifier: Classifier) -> None:
    card = model_card(folder)
    assert (card.name, card.res, card.features) == ("untrained_32", RES, FEATURES)
    assert card.facts["version"] == 1
    assert (classifier.name, classifier.res) == (card.name, RES)
    # of what computes
    ran = folder / (shelf.ONNX if classifier.engine == "onnx" else shelf.WEIGHTS)
    assert classifier.sha256 == shelf.file_sha256(ran)


def test_a_copy_is_called_as_its_folder(damaged: Path) -> None:
    assert model_card(damaged).name == "damaged"


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="no such model"):
        model_card("no_such_model")


ENGINES: list[tuple[Engine, str]] = [("tensorflow", shelf.WEIGHTS), ("onnx", shelf.ONNX)]


@pytest.mark.parametrize(("engine", "name"), ENGINES)
def test_weights_that_are_not_those_of_the_card(damaged: Path, engine: Engine, name: str) -> None:
    weights = damaged / name
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(ModelError, match=r"expected [0-9a-f]{64}, found [0-9a-f]{64}"):
        load_model(damaged, device="cpu", engine=engine)
    weights.unlink()
    with pytest.raises(ModelError, match="no weights"):
        load_model(damaged, device="cpu", engine=engine)


SOUND = {"res": RES, "features": [], "sha256": "0"}
WRONG: list[dict[str, object]] = [
    {"threshold": "high"},
    {"threshold": None},
    {"threshold": np.nan},
    {"threshold": 7},
    {"threshold": -0.1},
    {"recipe": None},
    {"recipe": ["parts"]},
    {"res": -3},
    {"features": "snr"},
]


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"name": "a"}', '{"res": "many"}', *(json.dumps(SOUND | one) for one in WRONG)],
)
def test_a_damaged_card(damaged: Path, text: str) -> None:
    (damaged / shelf.CARD).write_text(text)
    with pytest.raises(ModelError, match="not a model card"):
        model_card(damaged)


@pytest.mark.parametrize(
    ("recipe", "features", "knows"),
    [
        ({"parts": True}, FEATURES, True),
        ({"parts": True}, (), False),  # it sees the part alone
        ({"parts": False}, FEATURES, False),
        ({}, FEATURES, False),
    ],
)
def test_a_card_tells_whether_a_network_knows_parts_of_the_band(
    damaged: Path, recipe: dict[str, bool], features: tuple[str, ...], knows: bool
) -> None:
    card = json.loads((damaged / shelf.CARD).read_text())
    told = json.dumps(card | {"recipe": recipe, "features": features})
    (damaged / shelf.CARD).write_text(told)
    assert model_card(damaged).knows_parts == knows


def test_what_holds_code_is_refused_before_it_is_loaded(damaged: Path) -> None:
    keras, _ = import_keras()
    image = keras.Input((RES, RES, 1))
    features = keras.Input((len(FEATURES),))
    mean = keras.layers.Lambda(lambda x: x[:, 0, 0])(image)
    keras.Model([image, features], mean).save(damaged / shelf.WEIGHTS)
    card = json.loads((damaged / shelf.CARD).read_text())
    card["sha256"] = shelf.file_sha256(damaged / shelf.WEIGHTS)
    (damaged / shelf.CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"Lambda of keras.*nobody has checked"):
        load_model(damaged, device="cpu", engine="tensorflow")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.layers", "TFSMLayer"),
        ("keras.layers", "TorchModuleWrapper"),
        ("keras.utils", "get_file"),
        ("keras.config", "enable_unsafe_deserialization"),
        ("builtins", "function"),
        ("os", "system"),
        (None, "__lambda__"),
    ],
)
def test_only_plain_layers_are_loaded(tmp_path: Path, module: str | None, name: str) -> None:
    path = tmp_path / shelf.WEIGHTS
    inner: dict[str, object] = {"module": module, "class_name": name, "config": {}}
    outer = {"module": "keras.layers", "class_name": "Dense", "config": {"activation": inner}}
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("config.json", json.dumps(outer))
    with pytest.raises(ModelError, match=f"{name} of .*nobody has checked"):
        refuse_untrusted(path)


@pytest.mark.parametrize(("engine", "name"), ENGINES)
@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95 a pickle", b"PK\x03\x04 half a zip"])
def test_what_is_no_network_is_refused(
    damaged: Path, engine: Engine, name: str, content: bytes
) -> None:
    (damaged / name).write_bytes(content)
    card = json.loads((damaged / shelf.CARD).read_text())
    key = "sha256" if name == shelf.WEIGHTS else "sha256_onnx"
    (damaged / shelf.CARD).write_text(json.dumps(card | {key: shelf.file_sha256(damaged / name)}))
    with pytest.raises(ModelError, match=f"{name}: .*restore the folder"):
        load_model(damaged, device="cpu", engine=engine)


def test_a_model_for_onnx_alone_is_computed_by_it(
    damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (damaged / shelf.WEIGHTS).unlink()
    monkeypatch.setattr("mlppa.classify.engines._has_accelerator", lambda: True)
    assert load_model(damaged).engine == "onnx"


def test_features_that_nobody_measures_are_refused(damaged: Path) -> None:
    card = json.loads((damaged / shelf.CARD).read_text())
    (damaged / shelf.CARD).write_text(json.dumps(card | {"features": ["mood"]}))
    with pytest.raises(ModelError, match="mood are unknown"):
        load_model(damaged, device="cpu")


@pytest.mark.parametrize("engine", ["tensorflow", "onnx"])
def test_a_card_of_another_resolution(damaged: Path, engine: Engine) -> None:
    card = json.loads((damaged / shelf.CARD).read_text())
    (damaged / shelf.CARD).write_text(json.dumps(card | {"res": 64}))
    with pytest.raises(ModelError, match="inputs"):
        load_model(damaged, device="cpu", engine=engine)


def of_both_engines() -> list[str]:
    """Models of the zoo that see images and are not too large to come twice."""
    cards = [model_card(name) for name in list_models()]
    return [c.name for c in cards if c.res and (c.folder / shelf.WEIGHTS).exists()]


@pytest.mark.parametrize("name", of_both_engines())
def test_both_engines_give_the_same_probabilities(name: str) -> None:
    one, other = (load_model(name, engine=engine, device="cpu") for engine, _ in ENGINES)
    rng = np.random.default_rng(3)
    images = rng.normal(0, 1, (200, one.res, one.res)).astype(np.float32)
    images[::2, :, one.res // 2] += rng.uniform(0, 20, (100, 1)).astype(np.float32)
    features = rng.uniform(0, 12, (200, len(FEATURES))).astype(np.float32)
    said = one(images, features)
    assert np.ptp(np.log(said)) > 1
    np.testing.assert_allclose(other(images, features), said, atol=1e-5, rtol=0.01)


def test_the_engine_is_chosen_by_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, engine in ((False, "onnx"), (True, "tensorflow")):
        monkeypatch.setattr("mlppa.classify.engines._has_accelerator", lambda there=there: there)
        assert choose_engine("auto", "auto") == engine
        assert choose_engine("auto", "cpu") == "onnx"
        assert choose_engine("auto", "gpu") == "tensorflow"
        assert choose_engine("tensorflow", "cpu") == "tensorflow"
    with pytest.raises(EnvironmentFault, match="CPU only"):
        choose_engine("onnx", "gpu")


def test_a_missing_accelerator_is_no_reason_to_be_slow_in_silence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, tf = import_keras()
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is an accelerator")
    with pytest.raises(EnvironmentFault, match="no accelerator"):
        load_model(folder, device="gpu")
    monkeypatch.setattr("mlppa.classify.engines._has_accelerator", lambda: True)
    assert load_model(folder).engine == "onnx"
    assert "ONNX Runtime computes" in caplog.text


@pytest.mark.gpu
def test_an_accelerator_gives_the_same_numbers(folder: Path, classifier: Classifier) -> None:
    _, tf = import_keras()
    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("there is no accelerator")
    images, features = some(20)
    there = load_model(folder, batch=BATCH, device="gpu")(images, features)
    np.testing.assert_allclose(there, classifier(images, features), atol=1e-5)


def batches(counts: list[int]) -> Iterator[ImageBatch]:
    for number, count in enumerate(counts):
        coverage = Coverage(
            start=1000 * number, stop=1000 * (number + 1), searched=1000, masked=0, missing=0
        )
        yield ImageBatch(Searched(coverage, (), History()), *some(count, seed=number))


def test_the_stage_gives_every_batch_its_probabilities_and_budget(
    classifier: Classifier, metric_delta: type[MetricDelta]
) -> None:
    of = {"model": classifier.name, "batch": str(classifier.batch)}
    timed = metric_delta("mlppa_dt_seconds_count", **of)
    compared = metric_delta("mlppa_dt_budget_ratio_count", **of)
    counts = [3, 0, 11]
    out = list(classify(batches(counts), classifier, tsamp_s=1e-3))
    # a batch without an image has no dT
    assert timed() == compared() == 2
    assert [len(item.probabilities) for item in out] == counts
    for item in out:
        expected = classifier(item.batch.images, item.batch.features)
        np.testing.assert_allclose(item.probabilities, expected, atol=1e-6)
        assert item.budget.budget_s == pytest.approx(1.0)
        assert 0 <= item.budget.dt_s < 10


@pytest.mark.parametrize("engine", ["tensorflow", "onnx"])
def test_loading_is_quiet_and_late(folder: Path, engine: Engine) -> None:
    script = (
        "import sys; from mlppa.classify import list_models, load_model\n"
        "list_models(); assert not {'tensorflow', 'keras', 'onnxruntime'} & set(sys.modules)\n"
        f"load_model({str(folder)!r}, device='cpu', engine={engine!r})\n"
        f"assert ('tensorflow' in sys.modules) == ({engine!r} == 'tensorflow')\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert run.stdout == ""


@pytest.mark.parametrize("name", list_models())
def test_every_model_of_the_zoo_is_whole(name: str) -> None:
    card = model_card(name)
    assert card.name == name
    assert set(card.features) <= set(FEATURES if card.res else COLUMNS)
    assert shelf.verified(card, shelf.ONNX).is_file()
    if (card.folder / shelf.WEIGHTS).exists():
        refuse_untrusted(shelf.verified(card, shelf.WEIGHTS))
    assert {"recipe", "metrics"} <= set(card.facts)
    assert (card.folder / "recipe.toml").is_file()
