"""The program with a formula for its network: the rest as it is, whatever was trained.

``python -m tests.stand_in search FILE -o DIR`` is ``mlppa search FILE -o DIR`` but for that.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

import mlppa.confirm
import mlppa.live
import mlppa.offline
from mlppa.classify import Classifier, Device, Engine, model_card
from mlppa.cli import main
from mlppa.data import Float32Array


def brightness(images: Float32Array, features: Float32Array) -> Float32Array:
    """Say "pulse" where the middle of an image is bright."""
    time.sleep(slow_s())
    middle = images.shape[1] // 2
    centre = images[:, middle - 1 : middle + 2, middle - 1 : middle + 2].mean(axis=(1, 2))
    return np.asarray(np.clip(centre / 4, 0, 1), np.float32)


#: Seconds that every batch of images takes, for a machine that does not keep pace; and a file
#: that says so while it is there.
SLOW_S = float(os.environ.get("MLPPA_TEST_SLOW_S", "0"))
SLOW_FILE = os.environ.get("MLPPA_TEST_SLOW_FILE")


def slow_s() -> float:
    """Tell for how long a batch has to wait."""
    if SLOW_FILE is not None:
        with suppress(OSError):  # it is there for a while only
            return float(Path(SLOW_FILE).read_text())
    return SLOW_S


def load_model(
    name: str | Path, *, batch: int = 32, device: Device = "auto", engine: Engine = "auto"
) -> Classifier:
    """Pose as `load_model` in `mlppa.offline`; the card is the true one."""
    return Classifier(model_card(name), brightness, batch)


if __name__ == "__main__":
    for room in (mlppa.offline, mlppa.confirm, mlppa.live):
        vars(room)["load_model"] = load_model
    main()
