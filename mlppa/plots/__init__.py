"""Pictures for people: one detection at a glance, and what a demo found.

Matplotlib is imported when the first picture is drawn; no window system is needed.
"""

from .caption import caption, title
from .detection import plot_detection
from .found import plot_found

__all__ = ["caption", "plot_detection", "plot_found", "title"]
