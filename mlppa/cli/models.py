"""The networks: list them, read their cards, train them, measure them."""

import json
import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Debug, Quiet, folder, text
from .progress import bar, is_shown
from .usage import help_alone

#: Images of the set that the ML-PPA networks were trained on.
TALK_IMAGES = 297_472

app = typer.Typer(help="The networks: list them, train them, measure them.")


@app.callback(invoke_without_command=True)
def _common(context: typer.Context, debug: Debug = False) -> None:
    """List the networks, train them, measure them."""
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
        sees = f"{card.res:4d} pixels" if card.res else "lists      "
        typer.echo(f"{card.name:16} {sees}  {card.facts.get('summary', '')}")


@app.command()
def info(
    model: Annotated[str, typer.Argument(parser=text, help="Name or folder.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Print the card of a model, its layers, and what an image costs on this machine."""
    from ..classify import model_card
    from ..classify.card import ONNX
    from ..classify.cost import cost, layers

    card = model_card(model)
    if not (card.folder / ONNX).exists():  # too large to come along
        typer.echo(json.dumps(dict(card.facts)) if as_json else "\n".join(_outline(card.facts)))
        return
    every, spent = layers(card), cost(card)
    costs = {
        "mflop": spent.flop / 1e6,
        "ideal_us": 1e6 * spent.ideal_s,
        "measured_us": 1e6 * spent.dt_s,
        "share_of_peak": spent.share_of_peak,
        "peak_gflop_per_s": spent.peak_flop_per_s / 1e9,
    }
    if as_json:
        told = dict(card.facts) | {"layers": [asdict(one) for one in every], "cost": costs}
        typer.echo(json.dumps(told))
        return
    typer.echo("\n".join(_outline(card.facts)))
    typer.echo("layers")
    for one in every:
        shape = " x ".join(map(str, one.shape))
        typer.echo(f"  {one.kind:18} {shape:16} {one.parameters:10,d} parameters "
                   f"{one.flop / 1e6:9.3f} MFLOP")  # fmt: skip
    typer.echo(
        f"an image: {costs['mflop']:.3g} MFLOP, {costs['ideal_us']:.3g} us at this core's peak of "
        f"{costs['peak_gflop_per_s']:.0f} GFLOP/s; measured {costs['measured_us']:.3g} us, "
        f"{spent.share_of_peak:.0%} of the peak"
    )


@app.command()
def dataset(
    out: Annotated[Path, typer.Option("--out", "-o", parser=folder, help="Of the images.")],
    images: Annotated[int, typer.Option(min=1, help="How many.")] = TALK_IMAGES,
    res: Annotated[int, typer.Option(help="Pixels along either side.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Of the skies.")] = 1,
    threshold: Annotated[float, typer.Option(min=5, max=20, help="S/N of the search.")] = 5.2,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="To measure on: of telescopes never trained on.")
    ] = False,
    parts: Annotated[
        bool, typer.Option("--parts", help="Search parts of the band too; more pulses are narrow.")
    ] = False,
    recording: Annotated[
        list[Path] | None,
        typer.Option(readable=False, help="A filterbank without pulses, to put some into."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Skies at once.")] = 2,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Simulate and search skies, and write labelled images: 40 minutes for the talk's 297 472."""
    from ..training.architecture import RESOLUTIONS
    from ..training.shards import make_dataset
    from ..training.sheet import contact_sheet
    from ..training.skies import Draw

    if res not in RESOLUTIONS:
        raise typer.BadParameter(f"{res} is none of {', '.join(map(str, RESOLUTIONS))}")
    draw = Draw(seed, 0, res, threshold, unseen, parts, tuple(recording or ()))
    with bar(quiet) as tell:
        made = make_dataset(out, draw, images, processes, tell)
    contact_sheet(made, out / "sheet.png")
    if not quiet:
        pulses = sum(shard.pulses for shard in made.shards)
        typer.echo(f"{made.images} images, {pulses} of them pulses, of {made.facts['skies']} skies")
        typer.echo(f"Some of each kind: {out / 'sheet.png'}")


@app.command()
def train(
    recipe: Annotated[Path, typer.Option(readable=False, help="What to train, in TOML.")],
    out: Annotated[Path, typer.Option("--out", "-o", parser=folder, help="Of the new model.")],
    data: Annotated[
        Path | None, typer.Option(parser=folder, help="Images of `models dataset` (simulated).")
    ] = None,
    unseen: Annotated[
        Path | None, typer.Option(parser=folder, help="Images to measure on (simulated).")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write logs for TensorBoard, too.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Of the search.")] = 2,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a network on simulated skies and write it with its card; goes on if interrupted."""
    from ..dedisperse.engine import Engine
    from ..disk import write_whole
    from ..training.recipe import Recipe
    from ..training.shards import Dataset
    from ..training.train import Sets, train

    if not is_shown(quiet):  # where there is no bar
        logging.getLogger("mlppa.training").setLevel(logging.WARNING if quiet else logging.INFO)
    sets = Sets(*(Dataset.load(one) if one else None for one in (data, unseen)))
    wanted, said = Recipe.load(recipe), recipe.read_bytes()
    with bar(quiet) as tell, closing(Engine(threads)) as kernel:
        train(wanted, out, kernel, sets, tell, tensorboard=tensorboard)
    write_whole(out / "recipe.toml", said)
    if not quiet:
        info(str(out.resolve()))


@app.command()
def evaluate(
    model: Annotated[list[str], typer.Argument(parser=text, help="Names or folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", parser=folder, help="Of the report.")],
    data: Annotated[
        Path | None, typer.Option(parser=folder, help="Images of `models dataset --unseen`.")
    ] = None,
    skies: Annotated[int, typer.Option(min=1, help="To simulate, where no images are given.")] = 40,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure models on the same images, of telescopes that none was trained on: a report."""
    from ..classify import model_card
    from ..dedisperse.engine import Engine
    from ..training.card import code_version
    from ..training.evaluate import report
    from ..training.judging import Judgements
    from ..training.recipe import Recipe
    from ..training.shards import Dataset
    from ..training.train import refuse_seen, unseen_pieces

    found = Dataset.load(data) if data else None
    largest = max(model_card(name).res for name in model) or 64
    if found:
        refuse_seen(found, largest)
    parts = any(model_card(name).knows_parts for name in model)
    recipe = Recipe(res=largest, held_out=skies, parts=parts)  # type: ignore[arg-type]
    with bar(quiet) as tell, closing(Engine(1)) as kernel:
        pieces = unseen_pieces(recipe, kernel, found, tell)
        judgements = Judgements.of(model, pieces)
    about = {"data": str(data) if data else f"{skies} skies", "code": code_version()}
    report(judgements, out, about)
    if not quiet:
        typer.echo((out / "report.md").read_text().split("\n![")[0])
        typer.echo(f"The report: {out / 'report.md'}")


@app.command()
def compare(
    model: Annotated[list[str], typer.Argument(parser=text, help="Names or folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", parser=folder, help="Of the table.")],
    seconds: Annotated[float, typer.Option(min=10, max=86400, help="Of sky.")] = 300.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the sky.")] = 1,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Judge one sky by several models, against a search without a network: the talk's table."""
    from ..dedisperse.engine import Engine
    from ..training.versus import common_sky, compare, write_versus

    with bar(quiet) as tell, closing(Engine(2)) as kernel:
        versus = compare(model, common_sky(seconds, seed), kernel, tell)
    table = write_versus(versus, out)
    if not quiet:
        typer.echo(table)


def _shortened(values: list[object]) -> list[str]:
    """Give the ends of a long list, and how many there are."""
    plain = [str(value) for value in values]
    return plain if len(plain) < 20 else [*plain[:6], "…", f"{plain[-1]} ({len(plain)})"]


def _outline(facts: Mapping[str, object], indent: str = "") -> list[str]:
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
            plain = ", ".join(_shortened(value)) if isinstance(value, list) else str(value)
            lines.append(f"{indent}{name:24} {plain}")
    return lines
