"""Pictures for people: one detection at a glance, and what a demo found.

Matplotlib is imported when the first picture is drawn; no window system is needed.
"""

from .agreement import plot_agreement
from .caption import caption, title
from .curves import plot_curves
from .detection import plot_detection
from .dt import by_resolution, plot_dt
from .found import plot_found
from .judging import plot_recall, plot_reliability, plot_roc
from .recovery import plot_recovery
from .sheet import plot_images, plot_sheet
from .versus import plot_versus

__all__ = [
    "by_resolution",
    "caption",
    "plot_agreement",
    "plot_curves",
    "plot_detection",
    "plot_dt",
    "plot_found",
    "plot_images",
    "plot_recall",
    "plot_recovery",
    "plot_reliability",
    "plot_roc",
    "plot_sheet",
    "plot_versus",
    "title",
]
