"""Listen to a running mlppa."""

from typing import Annotated

import typer

from .search import AsJson


def listen(
    endpoint: Annotated[str, typer.Argument(help="Address of the publisher.")] = (
        "tcp://127.0.0.1:5757"
    ),
    replay: Annotated[str | None, typer.Option(help="Its replay address: fills holes.")] = None,
    from_seq: Annotated[int | None, typer.Option(help="Begin with this past message.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print detections and coverage as they come."""
    from ..listen import listen as hear
    from ..wire import CoverageMessage, encode

    for m in hear(endpoint, replay, from_seq):
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
