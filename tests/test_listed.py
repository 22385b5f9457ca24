"""Listed candidates: where they lie, what is measured there, and what becomes one pulse."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlppa.clean import Room, clean
from mlppa.data import Block, Candidate, Listed, Searched
from mlppa.errors import MlppaError
from mlppa.gulps import gulps
from mlppa.listed import Observation, Place, join, named_data, observations, place, stretches
from mlppa.listed.agreement import Agreement
from mlppa.listed.alone import Homeless, header_of, judge_lines
from mlppa.pipeline import pipeline
from mlppa.search import look, search
from mlppa.simulate import Pulse, Sky, write_filterbank
from mlppa.sources import open_source
from mlppa.sources.memory import MemorySource
from mlppa.sources.observation import FileSource

from .messages import ROWS, detection_message
from .reports import assert_same, told
from .skies import HEADER, PULSES, SKY, cut, kernel, plan_for, recorded
from .test_pipeline import parts

PLAN = plan_for(HEADER)
WHOLE = Observation(("sky.fil",), HEADER, SKY.nsamples)
FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def row_of(
    pulse: Pulse, *, late_s: float = 0.0, dm: float = 0.0, wider: float = 1.0, line: int = 1
) -> Listed:
    """List a pulse as another search might, somewhat off."""
    return Listed(
        dm=pulse.dm + dm,
        width_ms=pulse.width_ms * wider,
        snr=pulse.snr,
        mjd=HEADER.mjd(pulse.time_s + late_s),
        f_lo_mhz=1185.0,
        f_hi_mhz=1500.0,
        line=line,
    )


def joined(
    rows: Sequence[Listed], sky: Sky = SKY, *, searching: bool = False, cuts: Sequence[int] = ()
) -> tuple[list[Candidate], list[Listed]]:
    """Take a sky and lines through clean and join."""
    plan = plan_for(sky.header)
    (places,), homeless = place(rows, [Observation(("",), sky.header, sky.nsamples)])
    blocks = cut(recorded(sky), cuts)
    cleaned = clean(gulps(blocks, plan.gulp), plan.room if searching else Room(), plan.baseline)
    items = search(cleaned, plan.search, kernel()) if searching else look(cleaned, plan.search)
    left = [row for row, _ in homeless]
    found = [one for item in join(items, places, plan.search, left) for one in item.candidates]
    return found, left


def is_that(one: Candidate, pulse: Pulse) -> bool:
    off_s = abs(one.sample * HEADER.tsamp_s - pulse.time_s)
    return off_s < max(1.5e-3 * pulse.width_ms, 3e-3) and abs(one.dm - pulse.dm) < max(
        4 * one.dm_err, 3.0
    )


@pytest.mark.parametrize(
    ("late_s", "dm", "wider"),
    [(0, 0, 1), (2e-3, 0, 1), (-2e-3, 0, 1), (0, 4, 1), (0, -4, 1), (0, 0, 4), (0, 0, 0.3)],
)
def test_listed_pulses_are_measured_where_they_are(late_s: float, dm: float, wider: float) -> None:
    rows = [row_of(pulse, late_s=late_s, dm=dm, wider=wider) for pulse in PULSES]
    found, left = joined(rows)
    assert not left
    assert len(found) == len(PULSES)
    for one, pulse in zip(found, PULSES, strict=True):
        assert is_that(one, pulse), (one, pulse)
        assert one.snr == pytest.approx(pulse.snr, rel=0.2)
        assert one.width_samples * HEADER.tsamp_s * 1e3 < 3 * pulse.width_ms + 2
        assert not one.searched
        assert not one.partial
        assert len(one.listed) == 1


def test_repeats_become_one_that_lists_its_lines() -> None:
    pulse, other = PULSES[2], PULSES[4]
    rows = [
        row_of(pulse, line=1),
        row_of(pulse, late_s=4e-3, dm=8, wider=6, line=2),
        row_of(other, line=3),
        row_of(pulse, late_s=-3e-3, dm=-10, wider=4, line=4),
        row_of(other, wider=16, line=5),
    ]
    first, second = joined(rows)[0]
    assert sorted(row.line for row in first.listed) == [1, 2, 4]
    assert sorted(row.line for row in second.listed) == [3, 5]


def test_distinct_pulses_stay_apart() -> None:
    near = replace(PULSES[0], time_s=3.0, dm=100.0, width_ms=4.0, snr=20.0)
    pair = near, replace(near, time_s=3.03)
    found, _ = joined([row_of(pulse) for pulse in pair], replace(SKY, pulses=pair))
    assert len(found) == 2


def test_our_search_and_a_list_meet_in_one_candidate() -> None:
    listed = [row_of(pulse) for pulse in PULSES[1:]]
    nothing = Listed(dm=150.0, width_ms=4.0, snr=7.5, mjd=HEADER.mjd(6.4), line=9)
    found, left = joined([*listed, nothing], searching=True)
    assert not left
    assert [(one.searched, len(one.listed)) for one in found] == [
        (True, 0),
        *[(True, 1)] * 3,
        (False, 1),
        (True, 1),
    ]
    assert found[4].snr < 6


def test_what_lies_at_the_edge_is_partial_and_what_lies_outside_is_left() -> None:
    late = replace(PULSES[2], time_s=7.85, dm=400.0, width_ms=4.0, snr=40.0)
    sky = replace(SKY, pulses=(late,))
    outside = Listed(dm=300.0, width_ms=3.0, snr=9.0, mjd=HEADER.mjd(30.0))
    before = Listed(dm=300.0, width_ms=3.0, snr=9.0, mjd=HEADER.mjd(-0.5))
    found, left = joined([row_of(late), outside, before], sky)
    assert [one.partial for one in found] == [True]
    assert is_that(found[0], late)
    assert {row.mjd for row in left} >= {outside.mjd}
    assert len(found) + len(left) == 3


@pytest.mark.parametrize("gap", [300, 3000, 500_000])
def test_lines_just_before_a_gap_are_measured_before_it(gap: int) -> None:
    plan, last = plan_for(HEADER), 5100
    block = recorded(SKY)
    blocks = [
        Block(0, block.spectra[:last]),
        Block(last + gap, block.spectra[: 2 * plan.gulp]),
    ]
    rows = [row_of(pulse) for pulse in (PULSES[2], PULSES[3])]
    (places,), _ = place(rows, [WHOLE])
    cleaned = clean(gulps(blocks, plan.gulp), plan.room, plan.baseline)
    left: list[Listed] = []
    items = join(search(cleaned, plan.search, kernel()), places, plan.search, left)
    found = [one for item in items for one in item.candidates if one.listed]
    assert not left
    assert [is_that(one, pulse) for one, pulse in zip(found, PULSES[2:4], strict=True)] == [
        True
    ] * 2
    assert all(one.searched for one in found)


@FEW
@given(st.lists(st.integers(1, 3000), max_size=6), st.booleans())
def test_however_a_stream_is_cut_listed_candidates_are_the_same(
    cuts: list[int], searching: bool
) -> None:
    rows = [row_of(pulse, late_s=1e-3, dm=2) for pulse in PULSES]
    lengths = np.array(cuts, int).tolist()
    assert joined(rows, cuts=lengths, searching=searching) == joined(rows, searching=searching)


def test_only_the_stretches_around_candidates_are_read(tmp_path: Path) -> None:
    sky = replace(SKY, nsamples=60_000, pulses=(PULSES[2], replace(PULSES[4], time_s=45.0)))
    path = tmp_path / "sky.fil"
    write_filterbank(sky, path)
    (one,) = observations([str(path)])
    rows = [row_of(pulse) for pulse in sky.pulses]
    (places,), _ = place(rows, [one])
    plan = plan_for(one.header)
    reads = list(stretches(places, plan.search, plan.gulp, one.nsamples))
    assert len(reads) == 2
    assert all(first % plan.gulp == 0 for first, _ in reads)
    assert sum(last - first for first, last in reads) < sky.nsamples / 2
    source = open_source([str(path)])
    assert isinstance(source, FileSource)
    source.only(reads)
    whole = recorded(sky).spectra
    for block in source.blocks():
        np.testing.assert_array_equal(block.spectra, whole[block.start : block.stop])
    reports = list(pipeline(parts(source, listed=places, searching=False)))
    found = [d.candidate for report in reports for d in report.detections]
    # as in the whole stream, but for what cleaning remembers
    everything, _ = joined(rows, sky)
    assert [one.dm for one in found] == pytest.approx([one.dm for one in everything], abs=1)
    assert [one.snr for one in found] == pytest.approx([one.snr for one in everything], rel=0.03)


def test_the_whole_chain_is_the_same_however_it_is_cut() -> None:
    rows = [row_of(pulse) for pulse in PULSES]
    (places,), _ = place(rows, [WHOLE])
    spectra = recorded(SKY).spectra
    runs = [
        told(list(pipeline(parts(MemorySource(HEADER, spectra, cuts), listed=places))))
        for cuts in ((), (1000, 1, 4095, 700))
    ]
    assert_same(*runs)


def test_files_that_continue_each_other_are_one_observation(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.fil" for name in ("a", "b", "later", "beam")]
    shifts = {"a": (0.0, 0), "b": (2.0, 0), "later": (60.0, 0), "beam": (0.0, 3)}
    for path, (seconds, beam) in zip(paths, shifts.values(), strict=True):
        header = replace(HEADER, tstart_mjd=HEADER.mjd(seconds), beam=beam)
        write_filterbank(Sky(header=header, nsamples=2000, seed=1), path)
    known = observations([str(path) for path in reversed(paths)])
    assert [tuple(Path(uri).stem for uri in one.uris) for one in known] == [
        ("a", "b"),
        ("later",),
        ("beam",),
    ]
    assert [one.nsamples for one in known] == [4000, 2000, 2000]

    def homes(**changes: object) -> list[int]:
        row = replace(row_of(PULSES[0]), **changes)  # type: ignore[arg-type]
        places, _ = place([row], known)
        return [number for number, some in enumerate(places) if some]

    # by the name of the data, by the beam, and not at all where there are several
    assert homes(file="/elsewhere/beam.fil") == [2]
    assert homes(beam="cfbf00003") == [2]
    assert homes(beam="cfbf00000") == [0]
    assert homes(file="b.fil") == [0]
    # a list may name the file after
    assert homes(file="later.fil", beam="cfbf00000") == [0]
    assert homes(beam="other") == []
    # seconds count from the beginning of some data: which?
    assert homes(mjd=None, time_s=1.0) == []
    assert homes(mjd=None, time_s=1.0, file="beam.fil") == [2]


def test_data_are_found_by_the_names_in_lists(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("beside.fil", "data/sub.fil"):
        (tmp_path / name).write_bytes(b"")
    cands = str(tmp_path / "a.cands")
    rows = [
        Listed(dm=1.0, file=name, path=cands)
        for name in ("beside.fil", "/gone/beside.fil", "data/sub.fil", "nowhere.fil", "beside.fil")
    ]
    assert named_data(rows, []) == [str(tmp_path / "beside.fil"), str(tmp_path / "data/sub.fil")]
    assert named_data(rows, [str(tmp_path / "beside.fil")]) == [str(tmp_path / "data/sub.fil")]


def test_bad_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.fil").write_bytes(b"no filterbank")
    with pytest.raises(MlppaError):
        observations([str(tmp_path / "a.fil")])


def test_lines_without_data_are_merged_and_judged_by_what_they_say() -> None:
    rows = [
        row_of(PULSES[2]),
        row_of(PULSES[2], dm=5, wider=3, line=2),
        row_of(PULSES[4], line=3),
        replace(row_of(PULSES[1], line=4), snr=None),
    ]
    seen = []

    def table(rows: Sequence[Listed], columns: np.ndarray) -> np.ndarray:
        assert len(rows) == len(columns)
        seen.append(columns)
        return np.asarray(columns[:, 2] / 50, np.float32)

    headers = [header_of(row, None) for row in rows]
    assert None not in headers
    homeless = [Homeless(row, header) for row, header in zip(rows, headers, strict=True) if header]
    ((header, judged),) = judge_lines(homeless, table, 0.6)
    assert (header.f_lo_mhz, header.f_hi_mhz, header.tstart_mjd) == (1185.0, 1500.0, 60000.0)
    by_dm = {round(one.candidate.dm): one for one in judged}
    assert {dm: (one.label, len(one.candidate.listed)) for dm, one in by_dm.items()} == {
        210: ("pulse", 2),
        330: ("rfi", 1),
        480: ("rfi", 1),
    }
    assert all(one.judged_by == "list" and one.candidate.partial for one in judged)
    assert by_dm[330].reason == "list: probability 0.500 < 0.6, without data"
    assert seen[0].shape == (3, 7)
    assert header_of(Listed(dm=3.0, time_s=1.0), None) is None
    assert header_of(Listed(dm=3.0, mjd=6e4, f_lo_mhz=100, f_hi_mhz=100), None) is None
    assert header_of(Listed(dm=3.0, time_s=1.0), WHOLE) == HEADER


def test_agreement_counts_what_lists_and_search_have() -> None:
    pulse = detection_message(listed=ROWS, searched=True)
    alone = detection_message(listed=ROWS[:1])
    rejected = detection_message(listed=ROWS[:1], label="rfi")
    ours, noise = detection_message(), detection_message(label="rfi")
    told = Agreement.of([pulse, alone, rejected, ours, noise], repeated=2, unread=1, searched=True)
    assert told.as_json() == {
        "lines": 4,
        "repeated": 2,
        "unread": 1,
        "candidates": 3,
        "confirmed": 2,
        "not_confirmed": 1,
        "without_data": 0,
        "both": 1,
        "unique": 1,
        "additional": 1,
        "searched": True,
    }
    text = told.lines_of_text()
    assert text[4].split() == ["confirmed", "2", "66.7", "%"]
    assert len(text) == 10
    assert len(replace(told, searched=False).lines_of_text()) == 7


def test_a_stream_that_jumps_lets_go_what_waits(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    block = recorded(SKY)
    plan = PLAN
    # no sample of the second half, but much later
    blocks = [
        Block(0, block.spectra[: 2 * plan.gulp]),
        Block(50 * plan.gulp, block.spectra[: 2 * plan.gulp]),
    ]
    cleaned = clean(gulps(blocks, plan.gulp), Room(), plan.baseline)
    items: list[Searched] = list(look(cleaned, plan.search))
    ends = [item.coverage.stop for item in items if item.coverage.start == item.coverage.stop]
    assert ends == [2 * plan.gulp, 52 * plan.gulp]
    far = row_of(replace(PULSES[0], time_s=PULSES[0].time_s + 50 * plan.gulp * HEADER.tsamp_s))
    places = [Place(row, sample_of(row), 3) for row in (row_of(PULSES[0]), far)]
    left: list[Listed] = []
    found = [
        one for item in join(iter(items), places, plan.search, left) for one in item.candidates
    ]
    assert [round(one.snr) for one in found] == [round(found[0].snr)] * 2
    assert not left


def sample_of(row: Listed) -> float:
    assert row.mjd is not None
    return (row.mjd - HEADER.tstart_mjd) * 86400 / HEADER.tsamp_s
