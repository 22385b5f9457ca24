"""Messages for tests: a made-up burst, and reports made of it."""

from dataclasses import replace

from mlppa.data import (
    Budget,
    Candidate,
    Context,
    Coverage,
    Detection,
    FilterbankHeader,
    Listed,
    Report,
)
from mlppa.wire import CoverageMessage, DetectionMessage, Origin, coverage_message
from mlppa.wire import detection_message as build

HEADER = FilterbankHeader(
    nchans=336,
    fch1_mhz=1464.0,
    foff_mhz=-1.0,
    tsamp_s=0.001,
    tstart_mjd=58484.25,
    source_name="FRB 190101",
    telescope="ASKAP",
    beam=7,
)
ORIGIN = Origin(stream="askap", header=HEADER, model="dmt-64", model_sha256="ab" * 32, images=True)
SKY_ORIGIN = replace(
    ORIGIN,
    header=replace(HEADER, ra_deg=83.633, dec_deg=22.015),
    contexts=lambda _: Context("J0534+2200", 120.5, 241.92),
)
CREATED = "2026-01-02T03:04:05.678Z"
BATCH_SAMPLES = 1000
ROWS = (
    Listed(
        dm=362.37,
        width_ms=4.1,
        snr=21.5,
        mjd=58484.250142886574,
        beam="cfbf00007",
        path="b_07.cands",
        line=3,
    ),
    Listed(dm=361.0, width_samples=4, time_s=12.346, sample=12346, path="b.cand", line=8),
)
BUDGET = Budget(dt_s=0.012, budget_s=1.0)


def candidate(
    sample: float = 12345.4,
    dm: float = 362.42,
    snr: float = 23.4567,
    channels: tuple[int, int] | None = None,
) -> Candidate:
    return Candidate(
        sample=sample,
        dm=dm,
        dm_err=0.1237,
        width_samples=4,
        snr=snr,
        snr_zero_dm=1.5,
        octave=2,
        channels=channels,
    )


def detection_message(
    *,
    sample: float = 12345.4,
    label: str = "pulse",
    injected: bool = False,
    channels: tuple[int, int] | None = None,
    listed: tuple[Listed, ...] = (),
    searched: bool = False,
    known: bool = False,
) -> DetectionMessage:
    reason = "as strong at DM 0 as at its best DM" if label == "rfi" else None
    found = candidate(sample, channels=channels)
    if listed:
        found = replace(found, listed=listed, searched=searched, partial=not searched)
    detection = Detection(
        candidate=found,
        probability=0.0123456789 if label == "rfi" else 0.9987654321,
        label=label,
        reason=reason,
        injected=injected,
    )
    return build(detection, SKY_ORIGIN if known else ORIGIN, created=CREATED)


def covered(batch: int) -> Coverage:
    start = batch * BATCH_SAMPLES
    return Coverage(
        start=start,
        stop=start + BATCH_SAMPLES,
        searched=BATCH_SAMPLES - 30,
        masked=20,
        missing=10,
        masked_channels=12,
        candidates=2,
        decided_to=start - 100,
    )


def cov_message(batch: int) -> CoverageMessage:
    return coverage_message(covered(batch), BUDGET, ORIGIN, detections=1, created=CREATED)


def report(batch: int) -> Report:
    """One batch in which a pulse was found and a candidate rejected."""
    sample = batch * BATCH_SAMPLES + 500.0
    pulse = Detection(candidate=candidate(sample), probability=0.99, label="pulse")
    other = Detection(
        candidate=candidate(sample + 50, dm=1.0), probability=0.01, label="rfi", reason="narrow"
    )
    return Report(coverage=covered(batch), budget=BUDGET, detections=(pulse, other))
