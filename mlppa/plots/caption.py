"""What is written on the picture of a detection."""

from datetime import datetime, timedelta

from ..wire import DetectionMessage

MJD_0 = datetime(1858, 11, 17)


def title(message: DetectionMessage) -> tuple[str, str]:
    """Give the lines above a detection's picture: where it comes from."""
    low_mhz, high_mhz = _band_mhz(message)
    source = f"source {message.source_name}" if message.source_name else "source not named"
    channels = f"{message.nchans} channels, {low_mhz:.1f} to {high_mhz:.1f} MHz"
    sampling = f"{message.tsamp_s * 1e3:.4g} ms"
    return message.stream, f"beam {message.beam}  |  {channels}  |  {sampling}  |  {source}"


def caption(message: DetectionMessage, snr_zero_dm: float) -> dict[str, str]:
    """Give the text beside a detection's picture."""
    # half a millisecond more: what is cut off below is rounded so
    utc = MJD_0 + timedelta(days=message.mjd, microseconds=500)
    return {
        "S/N": f"{message.snr:.1f}",
        "DM (pc cm⁻³)": f"{message.dm:.2f} ± {message.dm_err:.2f}",
        "S/N at DM 0": f"{snr_zero_dm:.1f}",
        "probability": f"{message.probability:.3f}",
        "width": f"{message.width_ms:.3g} ms",
        **_subband(message),
        "arrival": f"at {_band_mhz(message)[1]:.1f} MHz",
        "UTC": utc.isoformat(" ", "milliseconds"),
        "MJD": f"{message.mjd:.9f}",
        "time": f"{message.time_s:.6f} s",
        "model": message.model,
    }


def _subband(message: DetectionMessage) -> dict[str, str]:
    """Say in which part of the band it was measured, and is shown; nothing for all of it."""
    low, high = _band_mhz(message)
    if message.f_lo_mhz is None or message.f_hi_mhz is None:
        return {}
    # a channel at least is missing: the message rounds
    if message.f_hi_mhz - message.f_lo_mhz > high - low - abs(message.foff_mhz) / 2:
        return {}
    return {"seen in": f"{message.f_lo_mhz:.1f} to {message.f_hi_mhz:.1f} MHz"}


def _band_mhz(message: DetectionMessage) -> tuple[float, float]:
    """Centres of the lowest and the highest channel."""
    ends = (message.fch1_mhz, message.fch1_mhz + (message.nchans - 1) * message.foff_mhz)
    return min(ends), max(ends)
