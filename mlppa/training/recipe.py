"""What makes a model: architecture, skies and how it is trained, in TOML."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..config import checked
from ..config.words import told
from ..errors import ConfigError
from .architecture import ARCHITECTURES
from .skies import VALIDATION, Draw

type Natural = Annotated[int, Field(ge=1)]


def _known(architecture: str) -> str:
    if architecture not in ARCHITECTURES:
        raise told(f"{architecture!r} is unknown", f"take one of: {', '.join(ARCHITECTURES)}")
    return architecture


class Recipe(BaseModel):
    """All that makes a model; the same recipe and code give the same examples.

    Parameters
    ----------
    architecture
        A name in `architecture.ARCHITECTURES`.
    res
        Pixels along either side of an image.
    seed
        Of the first weights and of the order of training.
    sky_seed, skies
        Of the simulated observations, and how many there are: one in `skies.VALIDATION`
        tells when to stop and where to cut.
    held_out
        Observations to measure on, of telescopes and interference that are not trained on.
    threshold
        S/N of the search: low, so that peaks of noise are among the examples.
    parts
        Whether parts of the band are searched by themselves, too, and more pulses are narrow.
    recordings
        Filterbanks without pulses that stand for some of the skies.
    loss, focus
        "bce" is cross-entropy; "focal" gives less to what is plain, by the power ``focus``
        (Lin et al. 2017, ICCV, 2999).
    balance
        Against more of one class than of the other: "weights" for each, "oversample" the
        rarer one, or "none".
    shift_px, noise
        Examples are moved by up to so many pixels, and get so much noise more, at random.
    initialiser
        How first weights are drawn, in Keras' words; unless given, as each layer has it.
    schedule, learning_rate
        "cosine" down to nothing, "restarts" does so again and again, twice as long each time
        (Loshchilov & Hutter 2017, ICLR), "exponential" falls to a hundredth, "constant" stays.
    teachers, trust
        So many networks of other seeds are trained before, and what they say together is this
        part of what this one learns; the rest are labels. See `teachers`.
    pretrain_epochs
        Passes over the examples without their labels, before: see `pretrain`.
    epochs, patience
        Most passes over the examples, and how many without progress end the training.
    batch
        Examples a step of the optimiser (Adam).
    float16
        Whether the weights are rounded to 16 bit, which halves them on the disk.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Annotated[str, AfterValidator(_known)] = "strided"
    res: Literal[32, 64, 128, 256] = 64
    seed: Annotated[int, Field(ge=0)] = 1
    sky_seed: Annotated[int, Field(ge=0)] = 1
    skies: Annotated[int, Field(ge=VALIDATION)] = 800
    held_out: Natural = 100
    threshold: Annotated[float, Field(ge=5, le=20)] = 5.2
    parts: bool = False
    recordings: tuple[Path, ...] = ()
    loss: Literal["bce", "focal"] = "bce"
    focus: Annotated[float, Field(gt=0, le=10)] = 2.0
    balance: Literal["weights", "oversample", "none"] = "weights"
    shift_px: Annotated[int, Field(ge=0, le=8)] = 0
    noise: Annotated[float, Field(ge=0, le=10)] = 0.0
    initialiser: Literal["GlorotUniform", "GlorotNormal", "HeNormal", "HeUniform"] | None = None
    schedule: Literal["cosine", "restarts", "exponential", "constant"] = "cosine"
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    teachers: Annotated[int, Field(ge=0, le=32)] = 0
    trust: Annotated[float, Field(ge=0, le=1)] = 0.7
    pretrain_epochs: Annotated[int, Field(ge=0)] = 0
    epochs: Natural = 25
    patience: Natural = 10
    batch: Natural = 64
    float16: bool = False

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recipe in TOML.

        Raises
        ------
        ConfigError
            If it cannot be read, or says something that cannot be.
        """
        try:
            content = tomllib.loads(path.read_text())
        except OSError as error:
            raise ConfigError(path, str(error.strerror), "give a recipe in TOML") from error
        except ValueError as error:
            raise ConfigError(path, f"not TOML: {error}", "correct that line") from error
        return checked(cls, content, str(path))

    def draw(self) -> Draw:
        """Give the first sky to train on."""
        return Draw(
            self.sky_seed,
            0,
            self.res,
            self.threshold,
            parts=self.parts,
            recordings=tuple(self.recordings),
        )

    def draw_unseen(self) -> Draw:
        """Give the first sky to measure on."""
        seed = self.sky_seed + HELD_OUT
        return Draw(seed, 0, self.res, self.threshold, unseen=True, parts=self.parts)


#: The skies that models are measured on have a seed of their own.
HELD_OUT = 1_000_000_007
