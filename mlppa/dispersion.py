"""Cold-plasma dispersion: the one place where the delay law and its constant live."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Dispersion constant in MHz^2 pc^-1 cm^3 s (Lorimer & Kramer 2005, Handbook of
#: Pulsar Astronomy, eq. 4.7). Every DM inside mlppa is in this convention.
K_DM = 4.148808e3

SECONDS_PER_DAY = 86400.0


def delay_s(dm: ArrayLike, f_mhz: ArrayLike, f_ref_mhz: float) -> NDArray[np.float64]:
    """Give the arrival delay at ``f_mhz`` behind ``f_ref_mhz``.

    Parameters
    ----------
    dm
        Dispersion measures in pc cm^-3, shape (..., 1) or a scalar.
    f_mhz
        Frequencies in MHz, shape (nchans,) or a scalar.
    f_ref_mhz
        Reference frequency in MHz; ``inf`` is legal.

    Returns
    -------
    delays
        Seconds, positive below the reference, broadcast shape of the arguments.
    """
    f = np.asarray(f_mhz, np.float64)
    return np.asarray(K_DM * np.asarray(dm, np.float64) * (f**-2.0 - float(f_ref_mhz) ** -2.0))


def sweep_s(dm: float, freqs_mhz: NDArray[np.float64]) -> float:
    """Delay in seconds between the top and the bottom channel centre at one DM."""
    return float(delay_s(dm, freqs_mhz.min(), float(freqs_mhz.max())))


def dm_per_sample(freqs_mhz: NDArray[np.float64], tsamp_s: float) -> float:
    """DM, in pc cm^-3, whose sweep of the band lasts exactly one sample."""
    return tsamp_s / sweep_s(1.0, freqs_mhz)


def channel_shape(freqs_mhz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Delay of each channel behind the top one, as a fraction of the sweep.

    Returns
    -------
    shape
        0 at the highest channel, 1 at the lowest, shape (nchans,). The delays in
        samples of a pulse with a sweep of n samples are ``n * shape``.
    """
    inverse = freqs_mhz**-2.0
    return np.asarray((inverse - inverse.min()) / (inverse.max() - inverse.min()))


def smear_s(dm: float, f_mhz: float, channel_width_mhz: float) -> float:
    """Smearing inside one channel, in seconds (the derivative of the delay law)."""
    return 2.0 * K_DM * abs(dm) * abs(channel_width_mhz) / f_mhz**3
