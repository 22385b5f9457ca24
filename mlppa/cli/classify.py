"""Judge the candidates of other searches."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    AsJson,
    Debug,
    Device,
    DmMax,
    Linger,
    Mask,
    MinProbability,
    Network,
    Output,
    Publish,
    Quiet,
    Replay,
    Stream,
    Threads,
    Threshold,
    Where,
    given,
    option_name,
)
from .progress import bar
from .search import draining, print_detections

if TYPE_CHECKING:
    from ..confirm import Confirmation

#: Settings whose options are not called like their keys.
CALLED = {
    "input": "--data",
    "lists.files": "CANDS",
    "lists.model": "--list-model",
    "publish.detections": "--publish",
}


class Images(StrEnum):
    """What the network looks at."""

    data = "data"
    px = "px"


def classify(
    cands: Annotated[
        list[str], typer.Argument(help="Lists, or transientx:///path/prefix*.cands to follow.")
    ],
    output: Output,
    data: Annotated[
        list[str] | None, typer.Option(help="A data file; may be given several times.")
    ] = None,
    search: Annotated[bool, typer.Option(help="Search the data ourselves, too.")] = True,
    dm_max: DmMax = None,
    min_probability: MinProbability = None,
    threshold: Threshold = None,
    threads: Threads = None,
    model: Network = None,
    list_model: Annotated[
        str | None, typer.Option(help="Of the one for candidates without data.")
    ] = None,
    device: Where = Device.auto,
    stream: Stream = None,
    publish: Publish = None,
    replay: Replay = None,
    linger_s: Linger = 0.0,
    images: Annotated[
        Images, typer.Option(help="Cut from the data, or those that TransientX saved beside plots.")
    ] = Images.data,
    write_h5: Annotated[
        bool, typer.Option("--write-h5", help="Write every candidate for FETCH, too.")
    ] = False,
    pictures: Annotated[bool, typer.Option(help="Draw pictures.")] = True,
    mask: Mask = True,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Judge candidates of TransientX, heimdall, PRESTO or a CSV: give the lists, and the data."""
    from ..config import ListConfig, naming, validated
    from ..confirm import Confirmation
    from ..offline import stream_name

    content = {
        "stream": stream_name(cands[0]) if stream is None else stream,
        "input": data or [],
        "output": output,
        "lists": given(
            files=cands, search=search, model=list_model, images=images.value, write_h5=write_h5
        ),
        "search": given(dm_max=dm_max, threshold=threshold, threads=threads, mask=mask),
        "classify": given(model=model, min_probability=min_probability, device=device.value),
        "publish": given(detections=publish, replay=replay, linger_s=linger_s, images=pictures),
    }
    with naming(lambda key: option_name(key, CALLED)):
        found = Confirmation(validated(ListConfig, content))
        with draining(found.close) as stopped, bar(quiet) as tell:
            for _ in found.run():
                tell("judging", found.judged, found.lines or None)
    if as_json:
        typer.echo(json.dumps(found.summary))
    elif not quiet:
        _print(found)
    if stopped and not found.is_followed:
        raise typer.Exit(128 + stopped[0])


def _print(found: "Confirmation") -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    print_detections(console, found.detections)
    assert found.agreement is not None
    for line in found.agreement.lines_of_text():
        console.print(line, markup=False)
    console.print(f"results in {found.config.output}")
