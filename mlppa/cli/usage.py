"""What is wrong with a command line, in our words: the thing, the cause, the remedy."""

from typing import Any

import typer
from typer.exceptions import TyperException


def help_alone(context: typer.Context) -> None:
    """Print the help where no command was given, which is a usage error and nothing worse."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)
        raise typer.Exit(2)


def usage_error(error: TyperException) -> str:
    """Say what a parser refuses: a value, an option, a command."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "mlppa"
    parameter = getattr(error, "param", None)
    message = error.message.removesuffix(".")
    if parameter is not None:
        return f"{_called(parameter)}: {_refused(error, message, command)}"
    thing = getattr(error, "option_name", command)
    cause = message.removeprefix(f"Option {thing!r} ").removesuffix(f": {thing}")
    cause = f"{cause[:1].lower()}{cause[1:]}"
    if ". Did you mean" in cause:
        return f"{thing}: {cause.replace('. Did', '; did')}"
    return f"{thing}: {cause}; see {command} --help"


def _called(parameter: Any) -> str:
    """Name a parameter as it is typed."""
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return "/".join(parameter.opts)


def _refused(error: TyperException, message: str, command: str) -> str:
    """Say what is wrong with a value: what pydantic says of it, or the validator's own words."""
    found = getattr(error.__cause__, "errors", None)
    if found is None:
        return message if ";" in message else f"{message or 'is not given'}; see {command} --help"
    # numpy comes with it, and takes its time
    from ..config.words import worded

    cause, remedy = worded(found()[0])
    value, _, choices = cause.partition(" is not one of ")
    if choices:
        return f"{value} is not known; give one of {choices}"
    return f"{cause}; {remedy}"
