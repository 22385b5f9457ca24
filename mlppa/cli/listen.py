"""Listen to a running mlppa."""

from typing import Annotated

import typer

from ..errors import ConfigError
from .options import AsJson, Debug

#: After so long without a message a listener is told that nobody speaks.
PATIENCE_S = 2.5


def listen(
    endpoint: Annotated[str, typer.Argument(help="Address of the publisher.")] = (
        "tcp://127.0.0.1:5757"
    ),
    replay: Annotated[str | None, typer.Option(help="Its replay address: fills holes.")] = None,
    from_seq: Annotated[
        int | None, typer.Option(min=0, help="Begin with this past message (with --replay).")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Print detections and coverage as they come."""
    from ..listen import listen as hear
    from ..wire import CoverageMessage, encode

    _check(endpoint, replay, from_seq)
    for m in hear(endpoint, replay, from_seq, patience_s=PATIENCE_S):
        if as_json:
            typer.echo(encode(m).decode())
        elif isinstance(m, CoverageMessage):
            typer.echo(
                f"{m.stream} {m.seq}: looked at {m.start_s:.3f}-{m.stop_s:.3f} s, "
                f"{m.candidates} candidates, {m.detections} detections"
            )
        else:
            typer.echo(
                f"{m.stream} {m.seq}: {m.label.upper()} at {m.time_s:.4f} s (MJD {m.mjd:.8f}), "
                f"DM {m.dm:.2f}, S/N {m.snr:.1f}, width {m.width_ms:.2f} ms, "
                f"probability {m.probability:.3f}"
            )


def _check(endpoint: str, replay: str | None, from_seq: int | None) -> None:
    from ..wire.address import ADDRESS_REMEDY, address_fault

    for name, address in (("ENDPOINT", endpoint), ("--replay", replay)):
        if address is not None and (fault := address_fault(address, bound=False)):
            raise ConfigError(name, fault, ADDRESS_REMEDY)
    if from_seq is not None and replay is None:
        cause = "past messages are had at the replay address only"
        raise ConfigError("--from-seq", cause, "give --replay too")
