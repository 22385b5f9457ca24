"""One dispersed pulse, as a filterbank records it.

Time convention, here and in every truth file: times count from the middle of sample 0,
so sample ``i`` integrates the power from ``i - 0.5`` to ``i + 0.5`` sampling times.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..data import FilterbankHeader, Float32Array
from ..dispersion import delay_s, smear_s
from ..errors import ConfigError

_FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
#: A pulse narrower than this, in samples, is recorded the same as one this narrow.
_NARROWEST = 0.25
_CHANNELS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Pulse:
    """A dispersed pulse of Gaussian shape.

    Parameters
    ----------
    time_s
        Arrival of its middle at the centre of the highest channel, since sample 0.
    dm
        In pc cm^-3.
    width_ms
        Full width at half maximum before smearing and scattering.
    snr
        S/N of the best boxcar on its noise-free band sum, dedispersed to whole
        samples, where every channel has noise of unit variance.
    spectral_index
        Flux goes as frequency to this power.
    f_lo_mhz, f_hi_mhz
        Where it shines; None is the edge of the band.
    scatter_ms
        Scattering time at 1 GHz; goes as frequency to the power of -4
        (Lorimer & Kramer 2005, Handbook of Pulsar Astronomy, ch. 4.2).
    centre_mhz, fwhm_mhz
        Of a Gaussian that its spectrum is multiplied by, as repeating bursts have one
        (Pleunis et al. 2021, ApJ 923, 1); None for none.
    scintle_mhz, scintle_seed
        Width of the bright and dark stretches of a spectrum that scintillates strongly, whose
        intensities are distributed exponentially (Lorimer & Kramer, ch. 4.2), and which of
        such spectra it is; None for none.

    Raises
    ------
    ConfigError
        Where a value cannot describe a pulse.
    """

    time_s: float
    dm: float
    width_ms: float
    snr: float
    spectral_index: float = 0.0
    f_lo_mhz: float | None = None
    f_hi_mhz: float | None = None
    scatter_ms: float = 0.0
    centre_mhz: float | None = None
    fwhm_mhz: float | None = None
    scintle_mhz: float | None = None
    scintle_seed: int = 0

    def __post_init__(self) -> None:
        numbers = (self.time_s, self.dm, self.width_ms, self.snr, self.scatter_ms)
        if not (np.isfinite(numbers).all() and self.width_ms > 0 and self.scatter_ms >= 0):
            raise ConfigError("pulse", f"{self} is not possible", "give finite, positive values")
        wide = [w for w in (self.fwhm_mhz, self.scintle_mhz) if w is not None]
        if not all(0 < w < np.inf for w in wide) or (self.fwhm_mhz and self.centre_mhz is None):
            cause = f"the spectrum of {self} is not possible"
            raise ConfigError("pulse", cause, "give positive widths, and a centre to a width")


@dataclass(frozen=True)
class PulseShape:
    """What a pulse adds to each channel of a band.

    Parameters
    ----------
    pulse
        The pulse that it is of.
    first
        Sample index of the first value in each channel, shape (nchans,).
    profile
        Power in units of the noise, shape (nchans, n), in the order of the header.
    boxcar_samples
        Length of the boxcar that defines its S/N.
    """

    pulse: Pulse
    first: NDArray[np.int64]
    profile: Float32Array
    boxcar_samples: int

    @cached_property
    def start(self) -> int:
        """Index of the first sample that the pulse touches."""
        return int(self.first.min())

    @cached_property
    def stop(self) -> int:
        """Index of the first sample after the pulse, in every channel."""
        return int(self.first.max()) + int(self.profile.shape[1])

    def add_to(self, spectra: Float32Array, start: int) -> None:
        """Add the pulse, in place, to spectra (nsamples, nchans) from sample ``start`` on."""
        length = self.profile.shape[1]
        for channel, first in enumerate((self.first - start).tolist()):
            low, high = max(first, 0), min(first + length, len(spectra))
            if low < high:
                spectra[low:high, channel] += self.profile[channel, low - first : high - first]


def shape_pulse(pulse: Pulse, header: FilterbankHeader) -> PulseShape:
    """Compute what a pulse adds to each channel, smeared and scattered, at its S/N.

    Raises
    ------
    ConfigError
        Where no channel of the band lies between its ``f_lo_mhz`` and ``f_hi_mhz``.
    """
    freqs = header.freqs_mhz
    weights = _spectrum(pulse, freqs)
    if not weights.any():
        raise ConfigError("pulse", f"{pulse} is outside the band", "change f_lo_mhz and f_hi_mhz")
    delays = delay_s(pulse.dm, freqs, header.f_hi_mhz) / header.tsamp_s
    before, length = _window(pulse, header)
    middles = pulse.time_s / header.tsamp_s + delays
    first = np.floor(middles).astype(np.int64) - before
    profile = _profiles(pulse, header, middles - first, length) * weights[:, None]
    ideal, boxcar = _best_boxcar(_dedispersed(profile, first - np.rint(delays).astype(np.int64)))
    profile *= pulse.snr * np.sqrt(header.nchans) / ideal
    return PulseShape(pulse, first, profile.astype(np.float32), boxcar)


def reach(pulse: Pulse, header: FilterbankHeader) -> tuple[int, int]:
    """Bounds [start, stop) of the samples that a pulse can touch, without its shape."""
    delays = delay_s(pulse.dm, header.freqs_mhz, header.f_hi_mhz) / header.tsamp_s
    before, length = _window(pulse, header)
    middle = pulse.time_s / header.tsamp_s
    start = int(np.floor(middle + delays.min())) - before
    return start, int(np.floor(middle + delays.max())) - before + length


def band_share(pulse: Pulse, header: FilterbankHeader) -> float:
    """Part of the band that a pulse shines in: what a flat spectrum of its S/N would fill."""
    flux = _spectrum(pulse, header.freqs_mhz)
    return float(flux.sum() ** 2 / (len(flux) * max((flux**2).sum(), 1e-30)))


def _spectrum(pulse: Pulse, freqs_mhz: NDArray[np.float64]) -> NDArray[np.float64]:
    low = -np.inf if pulse.f_lo_mhz is None else pulse.f_lo_mhz
    high = np.inf if pulse.f_hi_mhz is None else pulse.f_hi_mhz
    inside = (freqs_mhz >= low) & (freqs_mhz <= high)
    flux = np.where(inside, (freqs_mhz / freqs_mhz.max()) ** pulse.spectral_index, 0.0)
    if pulse.fwhm_mhz and pulse.centre_mhz is not None:
        flux *= np.exp(-4 * np.log(2) * ((freqs_mhz - pulse.centre_mhz) / pulse.fwhm_mhz) ** 2)
    if pulse.scintle_mhz:
        flux *= _scintles(freqs_mhz / pulse.scintle_mhz, pulse.scintle_seed)
    return flux


def _scintles(freqs: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Intensities at frequencies in units of a scintle: of complex amplitudes that vary so."""
    first = int(np.floor(freqs.min()))
    knots = np.arange(first, int(np.ceil(freqs.max())) + 2)
    parts = np.random.default_rng((seed, 5)).standard_normal((2, len(knots)))
    return sum((np.interp(freqs, knots, part) ** 2 for part in parts), np.zeros(len(freqs)))


def _width_samples(pulse: Pulse, header: FilterbankHeader) -> float:
    return max(pulse.width_ms / 1e3 / header.tsamp_s, _NARROWEST)


def _scatter_samples(pulse: Pulse, header: FilterbankHeader) -> NDArray[np.float64]:
    return np.asarray(pulse.scatter_ms / 1e3 / header.tsamp_s * (header.freqs_mhz / 1e3) ** -4.0)


def _smear_samples(pulse: Pulse, header: FilterbankHeader) -> NDArray[np.float64]:
    at_1_mhz = smear_s(pulse.dm, 1.0, header.foff_mhz) / header.tsamp_s
    return np.asarray(at_1_mhz * header.freqs_mhz**-3.0)


def _window(pulse: Pulse, header: FilterbankHeader) -> tuple[int, int]:
    """Count the samples before the middle of the pulse, and in all, for every channel."""
    wings = 5 * _width_samples(pulse, header) / _FWHM_PER_SIGMA
    wings += _smear_samples(pulse, header).max() / 2
    tail = 12 * _scatter_samples(pulse, header).max()
    before = int(np.ceil(wings)) + 1
    return before, before + int(np.ceil(wings + tail)) + 2


def _profiles(
    pulse: Pulse, header: FilterbankHeader, middles: NDArray[np.float64], length: int
) -> NDArray[np.float64]:
    """Profiles of unit fluence, shape (nchans, length), each around its middle.

    In the Fourier domain every effect is one factor. Aliases are folded in on
    purpose: an undersampled pulse is recorded so.
    """
    width = _width_samples(pulse, header)
    over = max(1, int(np.ceil(4 / width)))
    cycles = np.fft.rfftfreq(length * over, 1 / over)
    gauss = np.exp(-2 * (np.pi * width / _FWHM_PER_SIGMA * cycles) ** 2) * np.sinc(cycles)
    smear, scatter = _smear_samples(pulse, header), _scatter_samples(pulse, header)
    profiles = np.empty((header.nchans, length))
    for start in range(0, header.nchans, _CHANNELS_AT_ONCE):
        part = slice(start, start + _CHANNELS_AT_ONCE)
        turns = 2j * np.pi * cycles
        spectra = gauss * np.sinc(smear[part, None] * cycles) / (1 + turns * scatter[part, None])
        spectra = spectra * np.exp(-turns * middles[part, None])
        profiles[part] = np.fft.irfft(spectra, length * over)[:, ::over] * over
    return profiles


def _dedispersed(profile: NDArray[np.float64], first: NDArray[np.int64]) -> NDArray[np.float64]:
    offset = first - first.min()
    total = np.zeros(profile.shape[1] + int(offset.max()))
    for row, at in zip(profile, offset.tolist(), strict=True):
        total[at : at + len(row)] += row
    return total


def _best_boxcar(series: NDArray[np.float64]) -> tuple[float, int]:
    """Highest boxcar sum over the root of its length, and that length."""
    sums = np.concatenate([[0.0], np.cumsum(series)])
    widths = np.unique(np.geomspace(1, len(series), 200).astype(np.int64)).tolist()
    scores = [float((sums[w:] - sums[:-w]).max()) / np.sqrt(w) for w in widths]
    best = int(np.argmax(scores))
    return float(scores[best]), int(widths[best])
