"""The nouns of mlppa: what flows through the pipeline.

Rules that every stage keeps:

* The only clock is the integer sample index, counted from the header's
  ``tstart_mjd``. Dates are made once, when a message is written.
* A gap is a jump: ``block.start`` is past the previous ``block.stop``.
* What a stage has passed on it never writes to again, nor does whoever receives it:
  others may hold it, too.
* Units stand in names: MHz, seconds, MJD (UTC); DMs are in pc cm^-3.
"""

from .found import (
    Budget,
    Candidate,
    Classified,
    Context,
    Coverage,
    Detection,
    ImageBatch,
    Injection,
    JudgedBy,
    Listed,
    Panels,
    Picture,
    Report,
    Searched,
)
from .stream import (
    HIGHEST_MHZ,
    LAST_MJD,
    LOWEST_MHZ,
    Block,
    BoolArray,
    CleanGulp,
    FilterbankHeader,
    Float32Array,
    Gulp,
    History,
    Int8Array,
    Shed,
)

__all__ = [
    "HIGHEST_MHZ",
    "LAST_MJD",
    "LOWEST_MHZ",
    "Block",
    "BoolArray",
    "Budget",
    "Candidate",
    "Classified",
    "CleanGulp",
    "Context",
    "Coverage",
    "Detection",
    "FilterbankHeader",
    "Float32Array",
    "Gulp",
    "History",
    "ImageBatch",
    "Injection",
    "Int8Array",
    "JudgedBy",
    "Listed",
    "Panels",
    "Picture",
    "Report",
    "Searched",
    "Shed",
]
