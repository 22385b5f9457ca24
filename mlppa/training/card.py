"""A trained network on disk: its weights, and the card that says what they are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..classify import CARD, WEIGHTS, file_sha256
from ..errors import SinkError
from ..images import FEATURES


def save_model(model: Any, folder: Path, facts: Mapping[str, Any]) -> None:
    """Write weights and card into a folder; its name is the name of the model.

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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CARD).unlink(missing_ok=True)
        model.save(folder / WEIGHTS)
        card = {
            "name": folder.name,
            "res": int(model.inputs[0].shape[1]),
            "features": list(FEATURES),
            "sha256": file_sha256(folder / WEIGHTS),
            "parameters": int(model.count_params()),
        }
        part = folder / f"{CARD}.part"
        part.write_text(json.dumps(card | dict(facts), indent=1) + "\n")
        part.replace(folder / CARD)
    except OSError as error:
        raise SinkError(folder, str(error), "choose a folder that can be written to") from error
