"""The commands. Nothing is computed here, and nothing heavy is imported before it is needed."""

import logging
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from typer.exceptions import TyperException

from .. import __version__
from ..allocator import keep_freed_memory
from ..errors import ConfigError, EnvironmentFault, MlppaError
from . import (
    bench,
    classify,
    dashboard,
    doctor,
    keys,
    listen,
    models,
    replay,
    retract,
    run,
    search,
    sky,
)
from .options import Debug
from .usage import help_alone, usage_error

app = typer.Typer(
    name="mlppa",
    help="Find and classify radio transients: filterbank files in, detections out.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(sky.demo)
app.command()(search.search)
app.command()(classify.classify)
app.command()(run.run)
app.command()(search.check)
app.command()(doctor.doctor)
app.command()(sky.simulate)
app.command()(replay.replay)
app.command()(listen.listen)
app.command()(dashboard.dashboard)
app.command()(keys.keys)
app.command()(retract.retract)
app.add_typer(models.app, name="models")
app.add_typer(bench.app, name="bench")

#: Exit code of a bug; the others stand in `errors`.
BUG = 5

#: As shells have it.
INTERRUPTED = 130


def main() -> None:
    """Run a command; errors become one line on stderr and an exit code."""
    logging.basicConfig(format="mlppa: %(levelname)s: %(message)s")
    logging.getLogger().setLevel(logging.WARNING)
    for library in ("numba", "matplotlib"):
        logging.getLogger(library).setLevel(logging.WARNING)
    keep_freed_memory()
    with _terminating():
        sys.exit(_run())


@contextmanager
def _terminating() -> Iterator[None]:
    """On SIGTERM leave as on an interrupt: what is half done is cleared away."""

    def leave(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run() -> int:
    try:
        code = app(prog_name="mlppa", standalone_mode=False)
    except MlppaError as error:
        _say_error(str(error))
        return error.exit_code
    except TyperException as error:
        _say_error(usage_error(error))
        return ConfigError.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SystemExit as error:
        # so the libraries that print end us when whoever reads our output has enough
        if isinstance(error.__context__, BrokenPipeError):
            return 0
        raise
    except OSError as error:
        thing = error.filename or "the system"
        _say_error(f"{thing}: {error.strerror or error}; check the name and the permissions")
        return EnvironmentFault.exit_code
    except Exception as error:
        if _was_interrupted(error):
            return INTERRUPTED
        _say_error(f"this is a bug: {type(error).__name__}: {error}; tell us what --debug shows")
        return BUG
    return code if isinstance(code, int) else 0


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether an interrupt is behind an error: a library may make one of it, as imports do."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _say_error(text: str) -> None:
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        traceback.print_exc()
    typer.echo(f"mlppa: error: {' '.join(text.split())}", err=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _common(
    context: typer.Context,
    debug: Debug = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Find and classify radio transients: filterbank files in, detections out."""
    help_alone(context)
