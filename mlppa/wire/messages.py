"""The fields of every message, one model each: the only place where they stand."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

STREAM_PATTERN = r"^[A-Za-z0-9_.-]{1,64}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"
CREATED_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"

#: The largest integer that every JSON reader takes without rounding it.
LARGEST_INTEGER = 2**53 - 1

#: The most messages in one answer of the replay endpoint.
REPLAY_LIMIT = 1000

type Stream = Annotated[str, Field(pattern=STREAM_PATTERN)]


def _is_date(text: str) -> str:
    datetime.fromisoformat(text)
    return text


type Created = Annotated[str, Field(pattern=CREATED_PATTERN), AfterValidator(_is_date)]
type Integer = Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
type Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
type Seq = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
type Positive = Annotated[float, Field(gt=0)]
type NotNegative = Annotated[float, Field(ge=0)]


class _Message(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class ListedMessage(_Message):
    """A candidate in a list of another search, as its line has it."""

    path: str
    """The list."""
    line: Seq
    """Number of the line, from 1."""
    beam: str | None
    """Name of the beam; null where the list has none."""
    file: str | None
    """Name of the data; null where the list has none."""
    mjd: float
    """Arrival at the centre of the highest-frequency channel, MJD (UTC)."""
    dm: NotNegative
    """Dispersion measure by the constant of this page, pc cm^-3."""
    width_ms: NotNegative | None
    """Length of the boxcar, ms; null where the list has none."""
    snr: float | None
    """Signal to noise; null where it is none that can be."""
    f_lo_mhz: float | None
    """Lower end of the part of the band it shines in, MHz; null where the list has none."""
    f_hi_mhz: float | None
    """Upper end of it."""


class DetectionMessage(_Message):
    """A classified candidate: a pulse, or interference and the reason why."""

    schema_: Literal["mlppa.detection/1"] = Field(default="mlppa.detection/1", alias="schema")
    """What this object is, and the version of its fields."""
    id: Annotated[str, Field(min_length=1, max_length=160)]
    """Name of the detection, good as a file name; the same data give the same one."""
    stream: Stream
    """Name of the data stream."""
    beam: Integer
    """Number of the beam."""
    seq: Seq | None
    """Number of the message in its stream; null for a rejected candidate (never published)."""
    mjd: float
    """Arrival at the centre of the highest-frequency channel, MJD (UTC)."""
    mjd_inf: float
    """Arrival at infinite frequency, MJD (UTC)."""
    time_s: float
    """Arrival at the centre of the highest-frequency channel, seconds since sample 0."""
    sample: Integer
    """The same arrival as the index of the nearest sample."""
    dm: float
    """Dispersion measure, pc cm^-3 (constant 4.148808e3 MHz^2 pc^-1 cm^3 s)."""
    dm_err: NotNegative
    """Uncertainty of dm, pc cm^-3."""
    width_ms: Positive
    """Length of the boxcar that fits best, ms."""
    snr: float
    """Matched-filter signal to noise over that boxcar."""
    probability: Annotated[float, Field(ge=0, le=1)]
    """What the network gave: 0 interference, 1 a pulse."""
    label: Literal["pulse", "rfi"]
    """What was decided."""
    reason: str | None
    """Why a candidate was rejected; null for a pulse."""
    model: str
    """Name of the network."""
    model_sha256: Annotated[str, Field(pattern=SHA256_PATTERN)]
    """SHA-256 of its weights, lower-case hexadecimal."""
    octave: Count
    """Time resolution of the image that the network saw: pixels of 2^octave samples."""
    fch1_mhz: float
    """Centre frequency of channel 0, MHz."""
    foff_mhz: float
    """Channel step, MHz; negative when channel 0 is the highest."""
    nchans: Seq
    """Number of channels."""
    tsamp_s: Positive
    """Sampling time, seconds."""
    source_name: str
    """Name of the target as the data give it; may be empty."""
    injected: bool
    """True for a synthetic pulse that was put into the data on purpose."""
    image: str | None
    """File name of its picture; null when there is none."""
    latency_s: NotNegative | None
    """Seconds from its last sample coming in to this message; null offline."""
    created: Created
    """When this message was written, ISO 8601, UTC."""
    f_lo_mhz: Positive | None = None
    """Centre of the lowest channel of the part of the band it was measured in, MHz."""
    f_hi_mhz: Positive | None = None
    """Centre of the highest one; null, as above, in messages older than these fields."""
    proposed_by: Literal["search", "list", "both"] = "search"
    """Whether our search, a list of another one, or both proposed the candidate."""
    judged_by: Literal["data", "image", "list"] = "data"
    """What model saw: the data, an image that came with the list, or the list alone."""
    partial: bool = False
    """True when a part of the sweep, or all of it, lies outside of the data."""
    listed: list[ListedMessage] = []
    """All lines of lists that this one candidate stands for."""
    ra_deg: float | None = None
    """Where the beam pointed, right ascension (J2000), degrees; null where that is not known."""
    dec_deg: float | None = None
    """Declination, likewise."""
    known_source: str | None = None
    """Name of the known source whose place and DM are these; null where there is none."""
    dm_galactic: NotNegative | None = None
    """Highest DM of our Galaxy in this direction, pc cm^-3; null where nobody asked."""
    dm_excess: float | None = None
    """dm less dm_galactic: above 0 it comes from beyond; null, likewise."""

    @model_validator(mode="after")
    def _a_verdict_has_its_reason(self) -> Self:
        if (self.label == "rfi") != (self.reason is not None):
            raise ValueError("a rejected candidate has a reason, a pulse has none")
        if self.label == "rfi" and self.seq is not None:
            raise ValueError("a rejected candidate is never published: no seq")
        return self


class CoverageMessage(_Message):
    """What was looked at, sent for every batch even when nothing was found in it."""

    schema_: Literal["mlppa.coverage/1"] = Field(default="mlppa.coverage/1", alias="schema")
    """What this object is, and the version of its fields."""
    stream: Stream
    """Name of the data stream."""
    beam: Integer
    """Number of the beam."""
    seq: Seq | None
    """Number of the message in its stream; never null once published."""
    start: Count
    """Index of the first sample covered."""
    stop: Count
    """Index of the first sample after those covered."""
    start_s: NotNegative
    """start in seconds since sample 0."""
    stop_s: NotNegative
    """stop in seconds since sample 0."""
    mjd_start: float
    """start as MJD (UTC)."""
    tsamp_s: Positive
    """Sampling time, seconds."""
    searched: Count
    """Samples searched. searched + masked + missing + shed = stop - start."""
    masked: Count
    """Samples that came and were not used (interference)."""
    missing: Count
    """Samples that never came."""
    shed: Count
    """Samples that came and were given up to keep pace."""
    masked_channels: Count
    """Channels left out."""
    nchans: Seq
    """Number of channels."""
    candidates: Count
    """Candidates found in it and classified."""
    detections: Count
    """How many of them are pulses, injected ones included."""
    storm: bool
    """True when there was more than the search keeps: weak pulses may be lost."""
    decided_to: Integer
    """Everything that arrived before this sample is decided and was sent before this."""
    dt_s: NotNegative
    """Wall time of the batch in the network, seconds."""
    budget_s: NotNegative
    """New seconds of sky that the batch stands for; real time holds while dt_s is less."""
    created: Created
    """When this message was written, ISO 8601, UTC."""
    threshold: Positive | None = None
    """S/N from which peaks were candidates; null in messages older than this field."""
    model: str | None = None
    """Name of the network that judged them; null in messages older than this field."""

    @model_validator(mode="after")
    def _samples_add_up(self) -> Self:
        if self.searched + self.masked + self.missing + self.shed != self.stop - self.start:
            raise ValueError("searched + masked + missing + shed is not stop - start")
        return self


class InjectionMessage(_Message):
    """A synthetic pulse that was put into a live stream, and what became of it."""

    schema_: Literal["mlppa.injection/1"] = Field(default="mlppa.injection/1", alias="schema")
    """What this object is, and the version of its fields."""
    stream: Stream
    """Name of the data stream."""
    beam: Integer
    """Number of the beam."""
    seq: Seq | None
    """Number of the message in its stream; never null once published."""
    sample: Integer
    """Arrival at the centre of the highest-frequency channel, as the nearest sample."""
    time_s: float
    """The same, seconds since sample 0."""
    mjd: float
    """The same, MJD (UTC)."""
    dm: NotNegative
    """Its dispersion measure, pc cm^-3."""
    width_ms: Positive
    """Its own width, full width at half maximum, ms."""
    snr: Positive
    """Signal to noise that it was put in with, over the boxcar that fits best."""
    found: bool
    """True when it came out as a pulse."""
    detection: str | None
    """id of the candidate that it was found as, rejected or not; null where there was none."""
    found_snr: float | None
    """Signal to noise of that; null, likewise."""
    reason: str | None
    """Why it was missed; null when it was found."""
    created: Created
    """When this message was written, ISO 8601, UTC."""

    @model_validator(mode="after")
    def _a_miss_has_its_reason(self) -> Self:
        if self.found != (self.reason is None):
            raise ValueError("a pulse that was missed has a reason, one found has none")
        return self


class HealthMessage(_Message):
    """How a live stream fares: sent now and then, and whenever its state changes."""

    schema_: Literal["mlppa.health/1"] = Field(default="mlppa.health/1", alias="schema")
    """What this object is, and the version of its fields."""
    stream: Stream
    """Name of the data stream."""
    beam: Integer
    """Number of the beam."""
    seq: Seq | None
    """Number of the message in its stream; never null once published."""
    state: Literal["waiting", "live", "late", "silent", "insensitive", "stopping"]
    """Waiting for an observation, keeping pace, behind, without data, blind to what is put
    in, or about to end."""
    news: str
    """What has changed, for people; empty where nothing has."""
    ratio: NotNegative
    """Part of real time that the busiest thread needs, smoothed: late above 1."""
    dt_s: NotNegative
    """Wall time of the last batch in the network, seconds."""
    budget_s: NotNegative
    """New seconds of sky that it stood for."""
    latency_s: NotNegative | None
    """From the last sample of the last batch coming in to its messages; null before one."""
    stage_seconds: dict[str, NotNegative]
    """Seconds that each stage took for the last batch."""
    queues: dict[str, Count]
    """Items that wait in each queue."""
    rung: Count
    """Step of the ladder: 0 is all that there is."""
    rungs: Seq
    """How many there are."""
    rung_name: str
    """What is given up on this one."""
    steps_down: Count
    """How often it went down since the start of the program."""
    steps_up: Count
    """How often it went up again."""
    samples: Count
    """Samples that have passed since the start of the program."""
    searched: Count
    """How many of them were searched. searched + masked + missing + shed = samples."""
    masked: Count
    """How many came and were not used."""
    missing: Count
    """How many never came."""
    shed: Count
    """How many were given up to keep pace."""
    quiet_s: NotNegative | None
    """Seconds since data came in; null when none has."""
    recovered: Annotated[float, Field(ge=0, le=1)] | None
    """Part of the latest synthetic pulses that was found; null where too few were put in."""
    failing: list[str]
    """Names of what does not work now: sinks, the journal."""
    uptime_s: NotNegative
    """Seconds since the program started."""
    created: Created
    """When this message was written, ISO 8601, UTC."""
    backlog_s: NotNegative | None = None
    """Sky that came and is not searched, seconds; null in messages older than this field."""
    every_s: Positive | None = None
    """The next one comes within so many seconds; null, likewise."""


type Message = DetectionMessage | CoverageMessage | InjectionMessage | HealthMessage


class ReplayRequest(_Message):
    """What a client asks of the replay endpoint."""

    from_seq: Count
    """Give the messages with this number and all later ones."""
    stream: Stream | None = None
    """If given, an endpoint of another stream answers with an error."""
    limit: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)] = REPLAY_LIMIT
    """At most this many in one answer (never more than 1000)."""


class ReplayHeader(_Message):
    """The first frame of an answer; the frames after it are messages, by rising seq."""

    schema_: Literal["mlppa.replay/1"] = Field(default="mlppa.replay/1", alias="schema")
    """What this object is, and the version of its fields."""
    stream: Stream | None = None
    """Name of the stream; null in an error."""
    first_seq: Seq | None = None
    """Number of the first message that follows; null when none does."""
    next_seq: Seq | None = None
    """from_seq of the next request; null in an error."""
    more: bool = False
    """True when there is more to ask for now."""
    error: str | None = None
    """What was wrong with the request; null when all was well."""
