"""Simulated skies: write one, or take one through the whole program."""

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, InputError
from .options import AsJson, Debug, Quiet, folder
from .progress import bar

if TYPE_CHECKING:
    from ..data import FilterbankHeader
    from ..demo import DemoResult
    from ..simulate import Population

#: Upper end of any range of S/N, DM or width in ms.
MOST = 1e6

#: Pulses that need more than this while they are simulated are refused.
MOST_MEMORY_BYTES = 4 * 2**30


def simulate(
    output: Annotated[Path, typer.Argument(help="Filterbank file to write.")],
    seconds: Annotated[float, typer.Option(min=0.01, max=86400, help="Length.")] = 30.0,
    pulses: Annotated[int, typer.Option(min=0, max=100_000, help="How many pulses.")] = 10,
    snr: Annotated[tuple[float, float], typer.Option(help="Range of S/N.")] = (8.0, 40.0),
    dm: Annotated[tuple[float, float], typer.Option(help="Range of DM.")] = (20.0, 500.0),
    width_ms: Annotated[tuple[float, float], typer.Option(help="Range of width.")] = (0.5, 20.0),
    rfi: Annotated[bool, typer.Option(help="With interference.")] = False,
    nchans: Annotated[int, typer.Option(min=2, max=65536, help="Channels.")] = 256,
    fch1_mhz: Annotated[
        float, typer.Option(min=1e-3, max=1e7, help="Centre of channel 0.")
    ] = 1500.0,
    foff_mhz: Annotated[
        float, typer.Option(min=-1e6, max=1e6, help="Channel step; negative goes down.")
    ] = -1.0,
    tsamp_us: Annotated[float, typer.Option(min=1e-3, max=1e7, help="Sampling time.")] = 256.0,
    tstart_mjd: Annotated[float, typer.Option(min=0, max=1e6, help="Date of sample 0.")] = 60000.0,
    nbits: Annotated[int, typer.Option(help="1, 2, 4, 8, 16 or 32.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same sky.")] = 1,
    truth: Annotated[
        Path | None, typer.Option(readable=False, help="Take pulses from this truth file.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a synthetic filterbank, and the truth beside it (OUTPUT.truth.jsonl)."""
    from ..data import HIGHEST_MHZ, LOWEST_MHZ, FilterbankHeader
    from ..simulate import Population, random_sky, read_truth, write_filterbank

    for option, (low, high) in {"--snr": snr, "--dm": dm, "--width-ms": width_ms}.items():
        if not 0 < low <= high <= MOST:
            cause = f"{low:g} {high:g} is not a range between 0 and {MOST:g}"
            raise ConfigError(option, cause, "give two numbers, the smaller first")
    _check_channels(nchans, foff_mhz, nbits)
    try:
        header = FilterbankHeader(
            nchans=nchans,
            fch1_mhz=fch1_mhz,
            foff_mhz=foff_mhz,
            tsamp_s=tsamp_us * 1e-6,
            tstart_mjd=tstart_mjd,
            nbits=nbits,
            source_name=f"simulated-{seed}",
            telescope="Fake",
        )
    except InputError as error:
        # one by one the numbers are fine
        remedy = f"give a band between {LOWEST_MHZ:g} and {HIGHEST_MHZ:g} MHz"
        raise ConfigError("--foff-mhz", error.cause, remedy) from error
    population = Population(n_pulses=pulses, snr=snr, dm=dm, width_ms=width_ms)
    _check_reach(header, population, seconds)
    sky = random_sky(header, seconds, population, rfi, seed)
    if truth is not None:
        known = read_truth(truth)
        sky = replace(sky, pulses=tuple(known.pulses), interference=tuple(known.interference))
    with bar(quiet) as tell:
        write_filterbank(sky, output, lambda done: tell("simulating", done, sky.nsamples))
    if not quiet:
        typer.echo(f"{output}: {seconds:g} s, {len(sky.pulses)} pulses, truth beside it")


def _check_channels(nchans: int, foff_mhz: float, nbits: int) -> None:
    if foff_mhz == 0:
        raise ConfigError("--foff-mhz", "0 is no step between channels", "give it in MHz")
    if nbits not in (1, 2, 4, 8, 16, 32):
        cause = f"no filterbank has samples of {nbits} bits"
        raise ConfigError("--nbits", cause, "give 1, 2, 4, 8, 16 or 32")
    if nchans * nbits % 8:
        cause = f"{nchans} channels of {nbits} bit end inside a byte"
        raise ConfigError("--nchans", cause, "give a multiple of eight")


def _check_reach(header: "FilterbankHeader", population: "Population", seconds: float) -> None:
    """Refuse pulses that no such observation, or no such machine, can hold."""
    from ..dispersion import smear_s, sweep_s
    from ..simulate import shapes_bytes

    dm, width_ms = population.dm[1], population.width_ms[1]
    remedy = "give less, or more --seconds"
    if sweep_s(dm, header.freqs_mhz) > seconds:
        cause = f"at DM {dm:g} the sweep of the band is longer than the {seconds:g} s of data"
        raise ConfigError("--dm", cause, remedy)
    if smear_s(dm, header.f_lo_mhz, header.foff_mhz) > seconds:
        cause = f"at DM {dm:g} a channel is smeared over more than the {seconds:g} s of data"
        raise ConfigError("--foff-mhz", cause, remedy)
    if width_ms * 1e-3 > seconds:
        cause = f"a pulse of {width_ms:g} ms is longer than the {seconds:g} s of data"
        raise ConfigError("--width-ms", cause, remedy)
    needed = shapes_bytes(header, population, seconds)
    if population.n_pulses and needed > MOST_MEMORY_BYTES:
        cause = f"those that shine at the same time need {needed / 2**30:.3g} GiB of memory"
        raise ConfigError("--pulses", cause, "give fewer, shorter ones, or more --seconds")


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", parser=folder, help="For the results.")
    ] = Path("demo-out"),
    seconds: Annotated[float, typer.Option(min=5, max=3600, help="Length of the sky.")] = 30.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another sky.")] = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Take a synthetic sky with pulses and interference through the whole program."""
    from ..demo import run_demo
    from .search import follow

    silent = quiet or as_json
    with bar(silent) as tell:
        result = run_demo(
            output,
            seconds,
            seed,
            lambda search: follow(search, tell),
            lambda done, total: tell("simulating", done, total),
        )
    if as_json:
        typer.echo(json.dumps(result.as_json()))
        return
    if not quiet:
        _print_demo(result)


def _print_demo(result: "DemoResult") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title="What was put in, and what was found", title_justify="left")
    headings = ("time (s)", "DM", "found", "ms (own)", "boxcar", "S/N", "found", "probability")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for pulse, found in result.pairs:
        table.add_row(
            f"{pulse.time_s:.4f}",
            f"{pulse.dm:.1f}",
            f"{found.dm:.1f}" if found else "-",
            f"{pulse.width_ms:.2f}",
            f"{found.width_ms:.2f}" if found else "-",
            f"{pulse.snr:.1f}",
            f"{found.snr:.1f}" if found else "not found",
            f"{found.probability:.3f}" if found else "-",
        )
    console.print(table)
    page = shlex.join([sys.argv[0], "dashboard", str(result.folder), "--play", str(result.data)])
    for line in [*result.lines(), f"The live page, with this sky played to it: {page}"]:
        console.print(line, soft_wrap=True, highlight=False)
