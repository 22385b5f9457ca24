"""The networks: list them, read their cards, train them."""

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Debug, Quiet, folder, text
from .progress import bar, is_shown
from .usage import help_alone

app = typer.Typer(help="The networks: list them, read their cards, train them.")


@app.callback(invoke_without_command=True)
def _common(context: typer.Context, debug: Debug = False) -> None:
    """List the networks, read their cards, train them."""
    help_alone(context)


@app.command("list")
def list_(as_json: AsJson = False, debug: Debug = False) -> None:
    """Name the models that come with the program."""
    from ..classify import list_models, model_card

    cards = [model_card(name) for name in list_models()]
    if as_json:
        typer.echo(json.dumps([dict(card.facts) for card in cards]))
        return
    for card in cards:
        typer.echo(f"{card.name:16} {card.res:4d} pixels  {card.facts.get('summary', '')}")


@app.command()
def info(
    model: Annotated[str, typer.Argument(parser=text, help="Name or folder.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Print the card of a model: what it is, what it was trained on, how good it is."""
    from ..classify import model_card

    card = model_card(model)
    if as_json:
        typer.echo(json.dumps(dict(card.facts)))
        return
    for line in _outline(dict(card.facts)):
        typer.echo(line)


@app.command()
def train(
    recipe: Annotated[Path, typer.Option(readable=False, help="What to train, in TOML.")],
    out: Annotated[Path, typer.Option("--out", "-o", parser=folder, help="Of the new model.")],
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Of the search.")] = 2,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a network on simulated skies and write it with its card: minutes to an hour."""
    from ..dedisperse.engine import Engine
    from ..training.train import Recipe, train

    if not is_shown(quiet):  # where there is no bar
        logging.getLogger("mlppa.training").setLevel(logging.WARNING if quiet else logging.INFO)
    with bar(quiet) as tell:
        train(Recipe.load(recipe), out, Engine(threads), tell)
    if not quiet:
        info(str(out))


def _outline(facts: dict[str, object], indent: str = "") -> list[str]:
    """Lay a card out as indented lines."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *_outline(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{indent}{name}")
            for item in value:
                lines.append(indent + "  " + ", ".join(f"{k} {v}" for k, v in item.items()))
        else:
            plain = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines.append(f"{indent}{name:24} {plain}")
    return lines
