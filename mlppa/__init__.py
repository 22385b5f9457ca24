"""Real-time classification of radio transients in DM-time images."""

__version__ = "0.1.0"
