"""A trained network on disk: its weights, and the card that says what they are."""

import json
import subprocess
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..classify.card import CARD, ONNX, WEIGHTS, file_sha256
from ..classify.engines import quiet_stderr
from ..disk import make_folder, write_whole
from ..errors import SinkError
from ..images import FEATURES


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
    try:
        (folder / CARD).unlink(missing_ok=True)
        model.save(folder / WEIGHTS)
        _export(model, folder / ONNX)
    except OSError as error:
        raise SinkError(folder, str(error), "choose a folder that can be written to") from error
    card = {
        "name": folder.name,
        "res": int(model.inputs[0].shape[1]),
        "features": list(FEATURES),
        "sha256": file_sha256(folder / WEIGHTS),
        "sha256_onnx": file_sha256(folder / ONNX),
        "parameters": int(model.count_params()),
    }
    write_whole(folder / CARD, json.dumps(card | dict(facts), indent=1).encode() + b"\n")


def code_version() -> str:
    """Name the code that runs: its commit in a checkout, else its version."""
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        with suppress(OSError, subprocess.CalledProcessError):  # no git, or none that likes it
            words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
            said = subprocess.run(words, check=True, capture_output=True, text=True)
            return f"commit {said.stdout.strip()}"
    return f"version {__version__}"


def _export(model: Any, path: Path) -> None:
    """Write a model as a graph for ONNX Runtime."""
    # Keras exports what has been called, and has it so from then on
    model([np.zeros((1, *tensor.shape[1:]), np.float32) for tensor in model.inputs])
    with warnings.catch_warnings(), quiet_stderr():
        warnings.simplefilter("ignore", FutureWarning)  # of Keras, about NumPy
        model.export(path, format="onnx", verbose=False)
