"""A trained network on disk: its weights, and the card that says what they are."""

import hashlib
import json
import subprocess
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..classify.card import CARD, ONNX, WEIGHTS, file_sha256
from ..classify.engines import quiet_stderr
from ..classify.table import COLUMNS
from ..disk import make_folder, write_whole
from ..errors import SinkError
from ..images import FEATURES

#: Weights of a tensor from which on it is worth halving.
LARGE = 256


def prepare(folder: Path) -> None:
    """Make the folder of a model, and see that it can be written: before hours of training.

    Raises
    ------
    SinkError
        Where it cannot.
    """
    make_folder(folder)
    trial = folder / f".{CARD}.trial"
    write_whole(trial, b"")
    trial.unlink()


def save_model(model: Any, folder: Path, facts: Mapping[str, Any]) -> None:
    """Write weights, for Keras and for ONNX Runtime, and card; the folder is the model's name.

    The card comes last: a model without one is not seen by anybody.

    Parameters
    ----------
    facts
        What else the card tells: training data and seeds, geometry, metrics.

    Raises
    ------
    SinkError
        Where the folder cannot be written.
    """
    make_folder(folder)
    halved = bool(facts["recipe"]["float16"]) if "recipe" in facts else False
    try:
        (folder / CARD).unlink(missing_ok=True)
        model.save(folder / WEIGHTS)
        _export(model, folder / ONNX)
        if halved:
            _halve(folder / ONNX)
    except OSError as error:
        raise SinkError(folder, str(error), "choose a folder that can be written to") from error
    names = [tensor.name for tensor in model.inputs]
    card = {
        "name": folder.name,
        "res": int(model.inputs[0].shape[1]) if "image" in names else 0,
        "features": _features(names),
        "sha256": file_sha256(folder / WEIGHTS),
        "sha256_onnx": file_sha256(folder / ONNX),
        "parameters": int(model.count_params()),
    }
    write_whole(folder / CARD, json.dumps(card | dict(facts), indent=1).encode() + b"\n")


def _features(inputs: list[str]) -> list[str]:
    """Name the numbers that a network with such inputs takes."""
    if "features" not in inputs:
        return []
    return list(FEATURES if "image" in inputs else COLUMNS)


def code_version() -> str:
    """Name the code that runs: its commit in a checkout, else its version.

    Of a checkout with changes it names those, too: as it was when first asked, whatever is
    changed there while it runs.
    """
    return _code_of(Path(__file__).parents[2])


@cache
def _code_of(root: Path) -> str:
    if (root / ".git").exists():
        with suppress(OSError, subprocess.CalledProcessError):  # no git, or none that likes it
            commit = _git(root, "describe", "--always", "--exclude=*").decode().strip()
            changes = _git(root, "diff", "HEAD", "--", "mlppa")
            dirty = f"-dirty-{hashlib.sha256(changes).hexdigest()[:8]}" if changes else ""
            return f"commit {commit}{dirty}"
    return f"version {__version__}"


def _git(root: Path, *words: str) -> bytes:
    return subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True).stdout


def _export(model: Any, path: Path) -> None:
    """Write a model as a graph for ONNX Runtime."""
    # Keras exports what has been called, and has it so from then on
    model([np.zeros((1, *tensor.shape[1:]), np.float32) for tensor in model.inputs])
    with warnings.catch_warnings(), quiet_stderr():
        warnings.simplefilter("ignore", FutureWarning)  # of Keras, about NumPy
        model.export(path, format="onnx", verbose=False)


def _halve(path: Path) -> None:
    """Keep the large weights of a graph as 16-bit floats, which it makes 32-bit ones of."""
    import onnx

    graph = onnx.load(path)
    for tensor in list(graph.graph.initializer):
        weights = onnx.numpy_helper.to_array(tensor)
        if weights.dtype == np.float32 and weights.size >= LARGE:
            small = onnx.numpy_helper.from_array(weights.astype(np.float16), f"{tensor.name}.16")
            cast = onnx.helper.make_node(
                "Cast", [small.name], [tensor.name], to=onnx.TensorProto.FLOAT
            )
            graph.graph.initializer.remove(tensor)
            graph.graph.initializer.append(small)
            graph.graph.node.insert(0, cast)
    onnx.save(graph, path)
