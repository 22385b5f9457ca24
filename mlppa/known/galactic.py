"""How much DM the Galaxy gives towards a pointing, by a model of its electrons.

The models are those of the package mwprop: NE2001 (Cordes & Lazio 2002) and NE2025 (Ocker &
Cordes 2026). It is asked in a process of its own (`ask_mwprop`), for it prints to stdout,
replaces what shows warnings, draws in Matplotlib, and computes for seconds without letting
other threads run.
"""

import logging
import math
import subprocess
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from ..errors import EnvironmentFault

logger = logging.getLogger(__name__)

type Model = Literal["ne2001", "ne2025"]

#: What the extra `galactic` installs beyond what mlppa needs itself.
PACKAGES = ("mwprop", "astropy", "mpmath")

#: An answer takes three seconds, and on a machine that is busy several times that.
PATIENCE_S = 60.0

#: J2000 position of the north Galactic pole, and Galactic longitude of the celestial one, in
#: degrees (Hipparcos catalogue, ESA SP-1200, volume 1, section 1.5.3).
_POLE_RA, _POLE_DEC, _CELESTIAL_L = 192.85948, 27.12825, 122.93192


def check_galactic() -> None:
    """Look whether the model can be asked.

    Raises
    ------
    EnvironmentFault
        Where a package is missing.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        cause = f"{', '.join(missing)} is not installed"
        raise EnvironmentFault("the Galactic DM", cause, "pip install 'mlppa[galactic]'")


def galactic_dm(ra_deg: float, dec_deg: float, model: Model = "ne2001") -> float | None:
    """Give the DM of all the Galaxy towards a pointing (J2000), in pc cm^-3.

    It is computed once for each pointing, to 0.1 degrees; the first time takes seconds.
    None, with a warning, where the model gives no answer.
    """
    return _dm(model, round(ra_deg, 1), round(dec_deg, 1))


@lru_cache(maxsize=1024)
def _dm(model: Model, ra_deg: float, dec_deg: float) -> float | None:
    l_deg, b_deg = galactic_coordinates(ra_deg, dec_deg)
    program = Path(__file__).with_name("ask_mwprop.py")
    words = [sys.executable, "-P", str(program), model, f"{l_deg:.4f}", f"{b_deg:.4f}"]
    try:
        asked = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S
        )
        dm = float(asked.stdout.rsplit("DM ", 1)[-1])
    except subprocess.TimeoutExpired:
        why = f"no answer in {PATIENCE_S:g} s"
    except OSError as error:
        why = str(error.strerror)
    except ValueError:
        why = (asked.stderr.strip() or "it says nothing").splitlines()[-1]
    else:
        if math.isfinite(dm) and dm >= 0:
            return dm
        why = f"it says {dm}"
    logger.warning("no Galactic DM towards %g, %g degrees: %s", ra_deg, dec_deg, why)
    return None


def galactic_coordinates(ra_deg: float, dec_deg: float) -> tuple[float, float]:
    """Turn a J2000 position into Galactic longitude and latitude, in degrees."""
    ra, dec = math.radians(ra_deg - _POLE_RA), math.radians(dec_deg)
    pole = math.radians(_POLE_DEC)
    sin_b = math.sin(dec) * math.sin(pole) + math.cos(dec) * math.cos(pole) * math.cos(ra)
    y = math.cos(dec) * math.sin(ra)
    x = math.sin(dec) * math.cos(pole) - math.cos(dec) * math.sin(pole) * math.cos(ra)
    b_deg = math.degrees(math.asin(max(-1.0, min(1.0, sin_b))))
    return (_CELESTIAL_L - math.degrees(math.atan2(y, x))) % 360, b_deg
