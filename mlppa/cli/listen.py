"""Listen to a running mlppa."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .options import AsJson, Debug

if TYPE_CHECKING:
    from ..curve import Keys
    from ..wire import Message

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
    key: Annotated[Path | None, typer.Option(help="Our secret key, where it asks for one.")] = None,
    server_key: Annotated[Path | None, typer.Option(help="Public key of the publisher.")] = None,
    tui: Annotated[
        bool, typer.Option("--tui", help="A screen; ENDPOINT may be all that dashboard takes.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Print detections and coverage as they come."""
    if tui:
        if as_json or from_seq is not None:
            cause = "does not go with --json or --from-seq"
            raise ConfigError("--tui", cause, "leave them out, or --tui")
        _show_screen(endpoint, replay, keys_of(key, server_key))
        return
    from ..listen import listen as hear
    from ..wire import encode

    _check(endpoint, replay, from_seq)
    keys = keys_of(key, server_key)
    for m in hear(endpoint, replay, from_seq, patience_s=PATIENCE_S, keys=keys):
        if as_json:
            typer.echo(encode(m).decode())
        else:
            typer.echo(_line(m))


def _show_screen(who: str, replay: str | None, keys: "Keys | None") -> None:
    from ..dashboard import follow
    from ..dashboard.terminal import Terminal

    if not sys.stdout.isatty():
        raise ConfigError("--tui", "this is no terminal", "leave it out: lines are printed then")
    screen = Terminal([follow(who, keys, replay)])
    screen.run()
    if screen.error is not None:
        raise screen.error


def keys_of(key: Path | None, server_key: Path | None) -> "Keys | None":
    """Take both keys or none."""
    from ..curve import Keys

    if (key is None) != (server_key is None):
        cause = "one key is not enough"
        raise ConfigError("--key, --server-key", cause, "give both, or none")
    return None if key is None or server_key is None else Keys(key, server_key)


def _line(m: "Message") -> str:
    """Tell a message in a line."""
    from ..wire import CoverageMessage, DetectionMessage, HealthMessage

    who = f"{m.stream} {m.seq}:"
    if isinstance(m, CoverageMessage):
        return (
            f"{who} looked at {m.start_s:.3f}-{m.stop_s:.3f} s, "
            f"{m.candidates} candidates, {m.detections} detections"
        )
    if isinstance(m, HealthMessage):
        news = f", {m.news}" if m.news else ""
        return f"{who} {m.state}, {m.ratio:.0%} of real time, {m.rung_name}{news}"
    if isinstance(m, DetectionMessage):
        injected = " (put in)" if m.injected else ""
        return (
            f"{who} {m.label.upper()}{injected} at {m.time_s:.4f} s (MJD {m.mjd:.8f}), "
            f"DM {m.dm:.2f}, S/N {m.snr:.1f}, width {m.width_ms:.2f} ms, "
            f"probability {m.probability:.3f}"
        )
    fate = f"found with S/N {m.found_snr:.1f}" if m.found else f"missed ({m.reason})"
    return f"{who} put in at {m.time_s:.4f} s, DM {m.dm:.2f}, S/N {m.snr:.1f}: {fate}"


def _check(endpoint: str, replay: str | None, from_seq: int | None) -> None:
    from ..wire.address import ADDRESS_REMEDY, address_fault

    for name, address in (("ENDPOINT", endpoint), ("--replay", replay)):
        if address is not None and (fault := address_fault(address, bound=False)):
            raise ConfigError(name, fault, ADDRESS_REMEDY)
    if from_seq is not None and replay is None:
        cause = "past messages are had at the replay address only"
        raise ConfigError("--from-seq", cause, "give --replay too")
