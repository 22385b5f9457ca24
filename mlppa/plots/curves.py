"""How a training went."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .page import ACCENT, BLUE, PURPLE, page, ruled, save


def plot_curves(curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw loss, accuracy and learning rate over the epochs.

    Parameters
    ----------
    curves
        Columns "epoch", "loss", "val_loss", "accuracy", "val_accuracy", "learning_rate".
    path
        The PNG.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    figure = page((8.0, 8.0))
    loss, accuracy, rate = figure.subplots(3, 1, sharex=True)
    figure.subplots_adjust(left=0.13, right=0.97, bottom=0.08, top=0.97, hspace=0.1)
    epochs = [int(epoch) + 1 for epoch in curves["epoch"]]
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        axes.plot(epochs, curves[name], "o-", color=BLUE, markersize=4, label="shown")
        axes.plot(epochs, curves[f"val_{name}"], "s-", color=ACCENT, markersize=4, label="unseen")
        axes.set_ylabel(name, fontsize=13)
    loss.legend(frameon=False, fontsize=12)
    rate.plot(epochs, curves["learning_rate"], "o-", color=PURPLE, markersize=4)
    rate.set(yscale="log")
    rate.set_ylabel("learning rate", fontsize=13)
    rate.set_xlabel("epoch", fontsize=13)
    rate.xaxis.get_major_locator().set_params(integer=True)
    ruled(loss, accuracy, rate)
    save(figure, path)
