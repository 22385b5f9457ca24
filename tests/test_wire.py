"""Messages: the same bytes for ever, never NaN, and pages that say what the code does."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from mlppa.data import Budget, Coverage, Detection, FilterbankHeader
from mlppa.dispersion import K_DM
from mlppa.errors import ConfigError, InputError
from mlppa.wire import (
    CoverageMessage,
    DetectionMessage,
    HealthMessage,
    InjectionMessage,
    Message,
    Origin,
    ReplayHeader,
    ReplayRequest,
    coverage_message,
    decode,
    encode,
    json_schemas,
    message_id,
    read,
    topic,
)
from mlppa.wire import detection_message as build
from mlppa.wire.messages import LARGEST_INTEGER

from .messages import (
    BUDGET,
    CREATED,
    HEADER,
    ORIGIN,
    ROWS,
    candidate,
    cov_message,
    detection_message,
)

GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[1] / "docs"
#: Of before a detection told its part of the band.
BANDLESS = {"f_lo_mhz": None, "f_hi_mhz": None}
#: ... and of before lists of other searches were read.
LISTLESS = {"proposed_by": "search", "judged_by": "data", "partial": False, "listed": []}
#: ... and of before a pointing was told, and what is known of it.
SKYLESS = dict.fromkeys(("ra_deg", "dec_deg", "known_source", "dm_galactic", "dm_excess"))
HEALTH = HealthMessage(
    stream="b0",
    beam=0,
    seq=47,
    state="late",
    news="104% of real time is needed",
    ratio=1.04,
    dt_s=0.002,
    budget_s=0.524288,
    latency_s=0.71,
    stage_seconds={"clean": 0.1, "search": 0.54},
    queues={"input": 3, "journal": 0},
    rung=1,
    rungs=2,
    rung_name="S/N from 8",
    steps_down=1,
    steps_up=0,
    samples=8192,
    searched=6000,
    masked=100,
    missing=44,
    shed=2048,
    quiet_s=0.02,
    recovered=0.95,
    failing=["zmq"],
    uptime_s=86400.5,
    created="2026-01-02T03:04:05.678Z",
)
INJECTION = InjectionMessage(
    stream="b0",
    beam=0,
    seq=48,
    sample=100_000,
    time_s=25.6,
    mjd=60000.000296296,
    dm=123.4,
    width_ms=2.5,
    snr=12.0,
    found=False,
    detection=None,
    found_snr=None,
    reason="not searched",
    created="2026-01-02T03:04:05.678Z",
)
SAMPLES: dict[str, Message] = {
    "detection-1-pulse": detection_message().model_copy(update={"seq": 41} | BANDLESS),
    "detection-1-injected": detection_message(injected=True).model_copy(
        update={"seq": 42} | BANDLESS
    ),
    "detection-1-rfi": detection_message(label="rfi").model_copy(update=BANDLESS),
    "detection-1-part": detection_message(channels=(84, 168)).model_copy(update={"seq": 44}),
    "detection-1-listed": detection_message(listed=ROWS).model_copy(update={"seq": 45}),
    "detection-1-sky": detection_message(known=True).model_copy(update={"seq": 46}),
    "coverage-1": cov_message(12).model_copy(update={"seq": 43, "model": None}),
    "coverage-1-threshold": cov_message(12).model_copy(
        update={"seq": 49, "threshold": 6.5, "model": None}
    ),
    "coverage-1-model": cov_message(12).model_copy(update={"seq": 50, "threshold": 6.5}),
    "health-1": HEALTH,
    "health-1-backlog": HEALTH.model_copy(update={"seq": 51, "backlog_s": 6.25, "every_s": 10.0}),
    "injection-1": INJECTION,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_old_messages_are_read_for_ever(name: str) -> None:
    """These files are never changed: a new version gets new ones."""
    golden = (GOLDEN / f"{name}.json").read_bytes().strip()
    assert decode(golden) == SAMPLES[name]
    if isinstance(SAMPLES[name], DetectionMessage) and "ra_deg" not in json.loads(golden):
        newer: dict[str, Any] = dict(SKYLESS)
        newer |= {} if "listed" in json.loads(golden) else LISTLESS
        newer |= {} if "f_lo_mhz" in json.loads(golden) else BANDLESS
        assert json.loads(encode(decode(golden))) == json.loads(golden) | newer
    elif isinstance(SAMPLES[name], CoverageMessage):
        newer = {k: None for k in ("threshold", "model") if k not in json.loads(golden)}
        assert json.loads(encode(decode(golden))) == json.loads(golden) | newer
    elif isinstance(SAMPLES[name], HealthMessage):
        newer = {k: None for k in ("backlog_s", "every_s") if k not in json.loads(golden)}
        assert json.loads(encode(decode(golden))) == json.loads(golden) | newer
    else:
        assert encode(decode(golden)) == golden


@pytest.mark.parametrize("created", ["2026-02-31T00:00:00.000Z", "2026-13-01T00:00:00.000Z"])
def test_a_date_that_is_none_is_refused(created: str) -> None:
    text = encode(cov_message(1)).replace(CREATED.encode(), created.encode())
    with pytest.raises(InputError):
        decode(text)


def test_every_golden_file_is_read() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(SAMPLES)


def test_fields_of_the_contract_in_their_order() -> None:
    assert " ".join(json.loads(encode(detection_message()))) == (
        "schema id stream beam seq mjd mjd_inf time_s sample dm dm_err width_ms snr "
        "probability label reason model model_sha256 octave fch1_mhz foff_mhz nchans tsamp_s "
        "source_name injected image latency_s created f_lo_mhz f_hi_mhz "
        "proposed_by judged_by partial listed "
        "ra_deg dec_deg known_source dm_galactic dm_excess"
    )


def test_a_list_without_dates_or_milliseconds_is_told_in_both() -> None:
    message = detection_message(listed=ROWS)
    first, second = message.listed
    assert (first.line, first.beam, first.width_ms) == (3, "cfbf00007", 4.1)
    assert (second.beam, second.width_ms, second.snr) == (None, 4.0, None)
    assert second.mjd == pytest.approx(HEADER.mjd(12.346), abs=1e-11)
    assert (message.proposed_by, message.partial) == ("list", True)
    both = detection_message(listed=ROWS, searched=True)
    assert both.proposed_by == "both"


def test_the_band_that_a_pulse_was_measured_in() -> None:
    whole, part = detection_message(), detection_message(channels=(84, 168))
    assert (whole.f_lo_mhz, whole.f_hi_mhz) == (1464.0 - 335, 1464.0)
    assert (part.f_lo_mhz, part.f_hi_mhz) == (1464.0 - 167, 1464.0 - 84)
    assert (part.time_s, part.mjd) == (whole.time_s, whole.mjd)


def test_numbers_of_a_detection() -> None:
    message = detection_message()
    assert (message.sample, message.time_s, message.width_ms) == (12345, 12.3454, 4.0)
    assert (message.snr, message.probability) == (23.457, 0.998765)
    assert message.mjd == 58484.25 + 12.3454 / 86400
    delay_s = (message.mjd - message.mjd_inf) * 86400
    assert delay_s == pytest.approx(K_DM * 362.42 / 1464.0**2, abs=2e-6)
    assert message.id == f"askap-b7-{message.mjd:.9f}-dm362.42"
    assert message.image == f"{message.id}.png"


def test_a_rejected_candidate_has_no_picture_and_a_reason() -> None:
    message = detection_message(label="rfi")
    assert (message.image, message.seq, message.label) == (None, None, "rfi")
    assert message.reason


def test_same_data_give_the_same_bytes() -> None:
    assert encode(detection_message()) == encode(detection_message())
    assert (
        '"dm":0.0,'
        in encode(
            build(Detection(candidate=candidate(dm=-0.0), probability=1.0, label="pulse"), ORIGIN)
        ).decode()
    )


def test_topics() -> None:
    assert topic(SAMPLES["detection-1-pulse"]) == b"det.askap"
    assert topic(SAMPLES["detection-1-injected"]) == b"inj.askap"
    assert topic(SAMPLES["coverage-1"]) == b"cov.askap"


def test_coverage_of_two_runs_that_start_at_sample_0_has_two_names() -> None:
    later = FilterbankHeader(nchans=2, fch1_mhz=1400, foff_mhz=-1, tsamp_s=1e-3, tstart_mjd=6e4)
    origin = Origin(stream="askap", header=later, model="m", model_sha256="0" * 64)
    covered = Coverage(start=0, stop=1000, searched=1000, masked=0, missing=0)
    again = coverage_message(covered, BUDGET, origin, detections=0)
    assert message_id(again) != message_id(cov_message(0))
    assert message_id(cov_message(0)) == message_id(cov_message(0))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nothing_that_is_not_finite_gets_out(bad: float) -> None:
    for broken in (
        Detection(candidate=candidate(snr=bad), probability=0.5, label="pulse"),
        Detection(candidate=candidate(dm=bad), probability=0.5, label="pulse"),
        Detection(candidate=candidate(sample=bad), probability=0.5, label="pulse"),
        Detection(candidate=candidate(), probability=bad, label="pulse"),
    ):
        with pytest.raises((ValueError, OverflowError)):
            build(broken, ORIGIN)
    covered = Coverage(start=0, stop=1, searched=1, masked=0, missing=0)
    with pytest.raises(ValidationError, match="budget_s"):
        coverage_message(covered, Budget(dt_s=0.1, budget_s=bad), ORIGIN, detections=0)


def test_samples_must_add_up() -> None:
    covered = Coverage(start=0, stop=10, searched=8, masked=1, missing=0)
    with pytest.raises(ValidationError, match="is not stop - start"):
        coverage_message(covered, BUDGET, ORIGIN, detections=0)


def test_who_writes_knows_the_fields_and_who_reads_forgives() -> None:
    fields = json.loads(encode(detection_message()))
    with pytest.raises(ValidationError, match="colour"):
        DetectionMessage.model_validate(fields | {"colour": "red"})
    assert decode(json.dumps(fields | {"colour": "red"}).encode()) == detection_message()


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"snr": None}, "snr"),
        ({"snr": "9.5"}, "snr"),
        ({"seq": 0}, "seq"),
        ({"seq": True}, "seq"),
        ({"label": "maybe"}, "label"),
        ({"reason": "loud"}, "a pulse has none"),
        ({"stream": "a/b"}, "stream"),
        ({"created": "yesterday"}, "created"),
        ({"schema": "mlppa.detection/99"}, "mlppa.detection/99"),
        ({"schema": ["mlppa.detection/1"]}, "schema"),
    ],
)
def test_a_wrong_message_is_refused_and_the_fault_named(
    change: dict[str, object], names: str
) -> None:
    fields = json.loads(encode(detection_message())) | change
    with pytest.raises(InputError, match=re.escape(names)):
        decode(json.dumps(fields).encode())


def test_a_missing_field_is_named() -> None:
    fields = json.loads(encode(detection_message()))
    del fields["dm"]
    with pytest.raises(InputError, match="dm: Field required"):
        decode(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"schema": NaN}', b"1" * 5000],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        decode(data)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_be_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        decode(data)


finite = st.floats(allow_nan=False, allow_infinity=False)
count = st.integers(0, LARGEST_INTEGER)
whole = st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)
text = st.text(max_size=30)


@given(
    st.builds(
        DetectionMessage,
        schema=st.just("mlppa.detection/1"),
        id=st.text(min_size=1, max_size=160),
        stream=st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True),
        seq=st.none() | st.integers(1, LARGEST_INTEGER),
        dm_err=finite.map(abs),
        width_ms=st.floats(1e-9, 1e9),
        tsamp_s=st.floats(1e-9, 10),
        label=st.just("pulse"),
        reason=st.none(),
        model_sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
        source_name=text,
        image=st.none() | text,
        latency_s=st.none() | st.floats(0, 1e6),
        created=st.just(CREATED),
        **{name: finite for name in ("mjd", "mjd_inf", "time_s", "dm", "snr")},
        **{name: finite for name in ("fch1_mhz", "foff_mhz")},
        **{name: whole for name in ("beam", "sample")},
        octave=count,
        nchans=st.integers(1, LARGEST_INTEGER),
        probability=st.floats(0, 1),
    )
)
def test_every_detection_survives_the_wire(message: DetectionMessage) -> None:
    assert decode(encode(message)) == message


@given(
    st.tuples(count, *[st.integers(0, 10**9)] * 4),
    st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True),
)
def test_every_coverage_survives_the_wire(samples: tuple[int, ...], stream: str) -> None:
    start, searched, masked, missing, shed = samples
    start = start // 2
    message = CoverageMessage.model_validate(
        cov_message(1).model_dump(by_alias=True)
        | {"stream": stream, "start": start, "stop": start + sum(samples[1:])}
        | {"searched": searched, "masked": masked, "missing": missing, "shed": shed}
    )
    assert decode(encode(message)) == message


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "x" * 65, "a\n"])
def test_a_stream_name_that_cannot_be_a_file_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="stream"):
        Origin(stream=name, header=HEADER, model="m", model_sha256="0" * 64)


def test_a_model_without_its_sum_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="SHA-256"):
        Origin(stream="a", header=HEADER, model="m", model_sha256="unknown")


def test_strange_target_names_are_made_harmless() -> None:
    header = FilterbankHeader(
        nchans=2,
        fch1_mhz=1400.0,
        foff_mhz=-1.0,
        tsamp_s=1e-3,
        tstart_mjd=60000.0,
        source_name="B0531\x00\udcff" + "x" * 200,
    )
    origin = Origin(stream="s", header=header, model="m", model_sha256="0" * 64)
    found = Detection(candidate=candidate(), probability=0.9, label="pulse")
    message = build(found, origin)
    assert message.source_name == "B0531??" + "x" * 73
    assert decode(encode(message)) == message


def test_schema_files_are_those_of_the_models() -> None:
    """After a change of the models: ``mlppa.wire.write_json_schemas('docs/schema')``."""
    files = {path.name: json.loads(path.read_text()) for path in (DOCS / "schema").iterdir()}
    assert files == json_schemas()


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("Detection", DetectionMessage),
        ("Coverage", CoverageMessage),
        ("Injection", InjectionMessage),
        ("Health", HealthMessage),
        ("Request", ReplayRequest),
        ("Answer", ReplayHeader),
    ],
)
def test_the_page_lists_every_field_in_order(title: str, model: type[BaseModel]) -> None:
    page = (DOCS / "wire.md").read_text(encoding="utf-8")
    section = re.search(rf"^### {title}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    assert section is not None
    listed = re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE)
    assert listed == [field.alias or name for name, field in model.model_fields.items()]


def test_a_request_says_what_is_wrong_with_it() -> None:
    assert read(ReplayRequest, b'{"from_seq": 3, "colour": 1}').from_seq == 3
    with pytest.raises(InputError, match="from_seq: Field required"):
        read(ReplayRequest, b"{}")
