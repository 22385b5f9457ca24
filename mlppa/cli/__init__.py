"""The commands. Nothing is computed here, and nothing heavy is imported before it is needed."""

import logging
import sys
import traceback
from typing import Annotated

import typer
from typer.exceptions import TyperException

from .. import __version__
from ..errors import ConfigError, MlppaError
from . import listen, models, search, sky

app = typer.Typer(
    name="mlppa",
    help="Find and classify radio transients: filterbank files in, detections out.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(sky.demo)
app.command()(search.search)
app.command()(search.check)
app.command()(sky.simulate)
app.command()(listen.listen)
app.add_typer(models.app, name="models")

#: Exit code of a bug; the others stand in `errors`.
BUG = 5


def main() -> None:
    """Run a command; errors become one line on stderr and an exit code."""
    debug = "--debug" in sys.argv
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="mlppa: %(levelname)s: %(message)s",
    )
    for library in ("numba", "matplotlib"):
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        # --debug is welcome on either side of the command
        code = app([word for word in sys.argv[1:] if word != "--debug"], standalone_mode=False)
    except MlppaError as error:
        _say_error(str(error), debug)
        code = error.exit_code
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "mlppa"
        _say_error(f"{error.format_message()} (see {command} --help)", debug)
        code = ConfigError.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except SystemExit:
        # so the libraries that print end us when whoever reads our output has enough
        code = 0
    except Exception as error:
        _say_error(f"this is a bug: {type(error).__name__}: {error} (more with --debug)", debug)
        code = BUG
    sys.exit(code if isinstance(code, int) else 0)


def _say_error(text: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    typer.echo(f"mlppa: error: {' '.join(text.split())}", err=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Log all, and show tracebacks.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Do nothing: these options go with every command."""
