"""Messages made from what the pipeline found."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from ..data import Budget, Coverage, Detection, FilterbankHeader
from ..dispersion import delay_s
from ..errors import ConfigError
from .messages import SHA256_PATTERN, STREAM_PATTERN, CoverageMessage, DetectionMessage

#: Longer names of a target are cut: nothing in a message is of unlimited size.
LONGEST_NAME = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What all messages of a run have in common.

    Parameters
    ----------
    stream
        Name of the data stream: 1 to 64 of ``A-Z a-z 0-9 _ . -``.
    header
        Of the stream.
    model, model_sha256
        Name of the network and SHA-256 of its weights in lower-case hexadecimal.
    images
        True when a picture is made of every pulse.

    Raises
    ------
    ConfigError
        The stream's name or the sum is not of that form.
    """

    stream: str
    header: FilterbankHeader
    model: str
    model_sha256: str
    images: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(STREAM_PATTERN, self.stream):
            raise ConfigError(
                f"stream {self.stream!r}",
                "the name has other characters, or not 1 to 64 of them",
                "use letters, digits, '_', '.' and '-'",
            )
        if not re.fullmatch(SHA256_PATTERN, self.model_sha256):
            raise ConfigError(
                f"model {self.model}",
                f"{self.model_sha256!r} is no SHA-256",
                "give 64 lower-case hexadecimal digits",
            )


def detection_message(
    detection: Detection,
    origin: Origin,
    *,
    latency_s: float | None = None,
    created: str | None = None,
) -> DetectionMessage:
    """Give the message of a classified candidate, not yet numbered.

    Numbers are rounded where that takes away no measurement: times to a
    nanosecond, DMs to 1e-6 pc cm^-3, probabilities to 1e-6, S/N to 1e-3. Dates
    keep the precision of a double (0.6 microseconds today).

    Raises
    ------
    ValueError
        A number is not finite or out of its range: a bug upstream.
    """
    header, found = origin.header, detection.candidate
    time_s = found.sample * header.tsamp_s
    mjd = header.mjd(time_s)
    identity = f"{origin.stream}-b{header.beam}-{mjd:.9f}-dm{_plain(found.dm, 2):.2f}"
    return DetectionMessage(
        id=identity,
        stream=origin.stream,
        beam=header.beam,
        seq=None,
        mjd=mjd,
        mjd_inf=header.mjd(time_s - float(delay_s(found.dm, header.f_hi_mhz, float("inf")))),
        time_s=_plain(time_s, 9),
        sample=round(found.sample),
        dm=_plain(found.dm, 6),
        dm_err=_plain(found.dm_err, 6),
        width_ms=_plain(found.width_samples * header.tsamp_s * 1e3, 9),
        snr=_plain(found.snr, 3),
        probability=_plain(detection.probability, 6),
        label="pulse" if detection.label == "pulse" else "rfi",
        reason=detection.reason,
        model=origin.model,
        model_sha256=origin.model_sha256,
        octave=found.octave,
        fch1_mhz=header.fch1_mhz,
        foff_mhz=header.foff_mhz,
        nchans=header.nchans,
        tsamp_s=header.tsamp_s,
        source_name=_printable(header.source_name),
        injected=detection.injected,
        image=f"{identity}.png" if origin.images and detection.label == "pulse" else None,
        latency_s=None if latency_s is None else _plain(max(latency_s, 0.0), 6),
        created=created or now(),
    )


def coverage_message(
    coverage: Coverage,
    budget: Budget,
    origin: Origin,
    *,
    detections: int,
    created: str | None = None,
) -> CoverageMessage:
    """Give the message of one stretch of sky, not yet numbered.

    ``detections`` is the number of pulses found in it. Times are rounded to a
    nanosecond.

    Raises
    ------
    ValueError
        The samples do not add up, or a number is not finite: a bug upstream.
    """
    header = origin.header
    start_s = coverage.start * header.tsamp_s
    return CoverageMessage(
        stream=origin.stream,
        beam=header.beam,
        seq=None,
        start=coverage.start,
        stop=coverage.stop,
        start_s=_plain(start_s, 9),
        stop_s=_plain(coverage.stop * header.tsamp_s, 9),
        mjd_start=header.mjd(start_s),
        tsamp_s=header.tsamp_s,
        searched=coverage.searched,
        masked=coverage.masked,
        missing=coverage.missing,
        shed=coverage.shed,
        masked_channels=coverage.masked_channels,
        nchans=header.nchans,
        candidates=coverage.candidates,
        detections=detections,
        storm=coverage.storm,
        decided_to=coverage.decided_to,
        dt_s=_plain(budget.dt_s, 6),
        budget_s=_plain(budget.budget_s, 6),
        created=created or now(),
    )


def now() -> str:
    """Give the time as messages write it, to the millisecond (UTC)."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _plain(value: float, decimals: int) -> float:
    # Adding zero makes -0.0 a 0.0.
    return round(float(value), decimals) + 0.0


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:LONGEST_NAME]
