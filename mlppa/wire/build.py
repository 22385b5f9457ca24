"""Messages made from what the pipeline found."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ..data import (
    Budget,
    Candidate,
    Context,
    Coverage,
    Detection,
    FilterbankHeader,
    Injection,
    Listed,
)
from ..dispersion import delay_s
from ..errors import ConfigError
from .messages import (
    SHA256_PATTERN,
    STREAM_PATTERN,
    CoverageMessage,
    DetectionMessage,
    InjectionMessage,
    ListedMessage,
)

#: Longer names of a target are cut: nothing in a message is of unlimited size.
LONGEST_NAME = 80

#: So are paths.
LONGEST_PATH = 4096


type Contexts = Callable[[Candidate], Context]


def no_context(candidate: Candidate) -> Context:
    """Know nothing."""
    return Context()


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
    contexts
        Gives what is known of the direction and DM of a candidate.
    threshold
        S/N from which peaks are candidates.

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
    contexts: Contexts = no_context
    threshold: float | None = None

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
    found, header = detection.candidate, origin.header
    is_pulse = detection.label == "pulse"
    when = _arrival(found, header)
    identity = f"{origin.stream}-b{header.beam}-{when['mjd']:.9f}-dm{_plain(found.dm, 2):.2f}"
    identity += f"-r{detection.again}" if detection.again else ""
    return DetectionMessage(
        id=identity,
        **_of_every_message(origin, created),
        **when,
        dm=_plain(found.dm, 6),
        dm_err=_plain(found.dm_err, 6),
        width_ms=_plain(found.width_samples * header.tsamp_s * 1e3, 9),
        snr=_plain(found.snr, 3),
        probability=_plain(detection.probability, 6),
        label="pulse" if is_pulse else "rfi",
        reason=detection.reason,
        model=origin.model,
        model_sha256=origin.model_sha256,
        octave=found.octave,
        fch1_mhz=header.fch1_mhz,
        foff_mhz=header.foff_mhz,
        **_edges(found, header),
        source_name=printable(header.source_name),
        injected=detection.injected,
        image=f"{identity}.png" if origin.images and is_pulse else None,
        latency_s=None if latency_s is None else _plain(max(latency_s, 0.0), 6),
        proposed_by=_proposer(found),
        judged_by=detection.judged_by,
        partial=found.partial,
        listed=[listed_message(one, header) for one in found.listed],
        ra_deg=header.ra_deg,
        dec_deg=header.dec_deg,
        **_known(origin.contexts(found)),
    )


def _known(context: Context) -> dict[str, Any]:
    """Give the fields of a context."""
    name, galactic, excess = context.known_source, context.dm_galactic, context.dm_excess
    return {
        "known_source": None if name is None else printable(name),
        "dm_galactic": None if galactic is None else _plain(galactic, 3),
        "dm_excess": None if excess is None else _plain(excess, 3),
    }


def listed_message(listed: Listed, header: FilterbankHeader) -> ListedMessage:
    """Give what a message says of a line of a list; ``header`` is of the data it is about."""
    mjd, width_ms = listed.mjd, listed.width_ms
    if mjd is None:
        since_s = listed.time_s
        mjd = header.mjd((listed.sample or 0) * header.tsamp_s if since_s is None else since_s)
    if width_ms is None and listed.width_samples is not None:
        width_ms = listed.width_samples * header.tsamp_s * 1e3
    return ListedMessage(
        path=printable(listed.path, LONGEST_PATH),
        line=listed.line,
        beam=None if listed.beam is None else printable(listed.beam),
        file=None if listed.file is None else printable(listed.file, LONGEST_PATH),
        mjd=mjd,
        dm=_plain(listed.dm, 6),
        width_ms=None if width_ms is None else _plain(width_ms, 9),
        snr=listed.snr,
        f_lo_mhz=listed.f_lo_mhz,
        f_hi_mhz=listed.f_hi_mhz,
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
    start_s, stop_s = (n * header.tsamp_s for n in (coverage.start, coverage.stop))
    return CoverageMessage(
        **_of_every_message(origin, created),
        **asdict(coverage),
        start_s=_plain(start_s, 9),
        stop_s=_plain(stop_s, 9),
        mjd_start=header.mjd(start_s),
        detections=detections,
        dt_s=_plain(budget.dt_s, 6),
        budget_s=_plain(budget.budget_s, 6),
        threshold=origin.threshold,
        model=origin.model,
    )


def injection_message(
    injection: Injection, origin: Origin, *, created: str | None = None
) -> InjectionMessage:
    """Give the message of a synthetic pulse whose fate is known, not yet numbered."""
    header, found = origin.header, injection.found
    time_s = injection.sample * header.tsamp_s
    return InjectionMessage(
        stream=origin.stream,
        beam=header.beam,
        seq=None,
        sample=round(injection.sample),
        time_s=_plain(time_s, 9),
        mjd=header.mjd(time_s),
        dm=_plain(injection.dm, 6),
        width_ms=_plain(injection.width_ms, 9),
        snr=_plain(injection.snr, 3),
        found=injection.reason is None,
        detection=None if found is None else detection_message(found, origin).id,
        found_snr=None if found is None else _plain(found.candidate.snr, 3),
        reason=injection.reason,
        created=created or now(),
    )


def _of_every_message(origin: Origin, created: str | None) -> dict[str, Any]:
    header = origin.header
    return {
        "stream": origin.stream,
        "beam": header.beam,
        "seq": None,
        "nchans": header.nchans,
        "tsamp_s": header.tsamp_s,
        "created": created or now(),
    }


def _arrival(found: Candidate, header: FilterbankHeader) -> dict[str, Any]:
    """When a pulse crossed the centre of the highest channel, and infinite frequency."""
    time_s = found.sample * header.tsamp_s
    before_s = float(delay_s(found.dm, header.f_hi_mhz, float("inf")))
    return {
        "sample": round(found.sample),
        "time_s": _plain(time_s, 9),
        "mjd": header.mjd(time_s),
        "mjd_inf": header.mjd(time_s - before_s),
    }


def _proposer(found: Candidate) -> Literal["search", "list", "both"]:
    if not found.listed:
        return "search"
    return "both" if found.searched else "list"


def _edges(found: Candidate, header: FilterbankHeader) -> dict[str, Any]:
    """Which part of the band a pulse was found in, to the kHz."""
    freqs_mhz = header.freqs_mhz[slice(*(found.channels or (None,)))]
    low, high = float(freqs_mhz.min()), float(freqs_mhz.max())
    return {"f_lo_mhz": _plain(low, 6), "f_hi_mhz": _plain(high, 6)}


def now() -> str:
    """Give the time as messages write it, to the millisecond (UTC)."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _plain(value: float, decimals: int) -> float:
    # Adding zero makes -0.0 a 0.0.
    return round(float(value), decimals) + 0.0


def printable(name: str, longest: int = LONGEST_NAME) -> str:
    """Give a name without what could do something to a terminal or a log, and not too long."""
    return "".join(c if c.isprintable() else "?" for c in name)[:longest]
