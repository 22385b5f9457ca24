"""A network on disk: the card that says what it is, and its weights."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from ..errors import ModelError

#: The network as Keras has it; the same as ONNX Runtime has it; and the card.
WEIGHTS = "model.keras"
ONNX = "model.onnx"
CARD = "card.json"

#: From which probability on a candidate is a pulse, where a card does not say.
USUAL_THRESHOLD = 0.7


class _Told(BaseModel):
    """What of a card is relied upon."""

    res: Annotated[int, Field(ge=0)]
    features: tuple[str, ...]
    sha256: str
    threshold: Annotated[float, Field(ge=0, le=1)] = USUAL_THRESHOLD
    recipe: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is and where it comes from: the card beside its weights.

    Parameters
    ----------
    folder
        Where the weights and the card lie.
    name
        What messages call the model: the name of its folder.
    res
        Pixels along either side of its images; 0 where it judges lists of candidates.
    features
        Names of the numbers that it takes beside an image, as in `images.FEATURES`, or of
        those of a list, as in `table.COLUMNS`.
    sha256
        Of `WEIGHTS`, which may be missing where `ONNX` is there.
    threshold
        From which probability on a candidate is a pulse: set on skies for that alone.
    knows_parts
        Whether it was trained on images of parts of the band, too, and sees what is beside them.
    facts
        All of the card: training data and seeds, geometry, metrics.
    """

    folder: Path
    name: str
    res: int
    features: tuple[str, ...]
    sha256: str
    threshold: float
    knows_parts: bool
    facts: Mapping[str, Any]

    def digest(self, name: str) -> str:
        """Give the sha256 that `WEIGHTS` or `ONNX` must have."""
        return self.sha256 if name == WEIGHTS else str(self.facts.get("sha256_onnx"))


def models_folder() -> Path:
    """Where the models lie: inside an installed package, or beside it in a checkout."""
    inside = Path(__file__).parents[1] / "_models"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "models"


def list_models() -> list[str]:
    """Names of the models that come with the program and their weights, in alphabetical order."""
    cards = models_folder().glob(f"*/{CARD}")
    return sorted(card.parent.name for card in cards if (card.parent / ONNX).exists())


def model_card(name: str | Path) -> ModelCard:
    """Read the card of a model, given by its name or its folder.

    Raises
    ------
    ModelError
        Where there is no such model, or its card cannot be used.
    """
    comes = Path(name).name == str(name) and (models_folder() / name / CARD).is_file()
    folder = models_folder() / name if comes else Path(name)
    if not (folder / CARD).is_file():
        known = ", ".join(list_models()) or "none"
        raise ModelError(f"model {name}", "there is no such model", f"take one of: {known}")
    remedy = "train the model again or restore its folder"
    try:
        facts = json.loads((folder / CARD).read_text())
        told = _Told.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        cause = f"not a model card ({where}: {first['msg']})"
        raise ModelError(folder / CARD, cause, remedy) from error
    except (OSError, ValueError) as error:
        raise ModelError(folder / CARD, f"not a model card ({error!r})", remedy) from error
    return ModelCard(
        folder=folder,
        name=folder.resolve().name,
        res=told.res,
        features=told.features,
        sha256=told.sha256,
        threshold=told.threshold,
        # the image of a part shows that alone: the spectrum is among the features
        knows_parts=bool(told.features and told.recipe.get("parts")),
        facts=facts,
    )


def file_sha256(path: Path) -> str:
    """Digest of a file, as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def verified(card: ModelCard, name: str) -> Path:
    """Give a file of a model, `WEIGHTS` or `ONNX`, after checking that it is the card's.

    Raises
    ------
    ModelError
        Where it is missing or another.
    """
    path = card.folder / name
    remedy = "restore the folder of the model, or train it again"
    if not path.is_file() and (recipe := card.folder / "recipe.toml").is_file():
        remedy = f"restore it, or train it: mlppa models train --recipe {recipe} --out DIR"
    if not path.is_file():
        raise ModelError(path, "there are no weights", remedy)
    expected, found = card.digest(name), file_sha256(path)
    if found != expected:
        cause = f"the sha256 is not the one in {CARD}: expected {expected}, found {found}"
        raise ModelError(path, cause, remedy)
    return path
