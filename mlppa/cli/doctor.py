"""Check the machine, and a configuration on it."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, Debug

if TYPE_CHECKING:
    from ..doctor import Finding, Level

COLOURS: "dict[Level, str]" = {
    "fine": "green",
    "warning": "yellow",
    "fault": "red",
    "unknown": "dim",
}


def doctor(
    config: Annotated[
        Path | None, typer.Argument(readable=False, help="A configuration file (TOML).")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check the machine, and a configuration on it; say what to do about what is wrong."""
    from ..doctor import Host, Needs, examine, exit_code, read_needs

    needs, findings = read_needs(config) if config is not None else (Needs(), [])
    findings = [*findings, *examine(Host(), needs)]
    code = exit_code(findings)
    if as_json:
        found = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"exit_code": code, "findings": found}))
    else:
        _print_findings(findings)
    if code:
        raise typer.Exit(code)


def _print_findings(findings: Sequence["Finding"]) -> None:
    """Print a table; the remedy stands under what it is for."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    counts = Counter(finding.level for finding in findings)
    title = ", ".join(f"{counts[level]} {level}" for level in COLOURS if counts[level])
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    for name in ("level", "thing", "said"):
        table.add_column(name, no_wrap=name == "level", overflow="fold")
    for finding in findings:
        said = Text(finding.said)
        if finding.remedy:
            said.append(f"\n→ {finding.remedy}", style="bold")
        table.add_row(Text(finding.level, style=COLOURS[finding.level]), finding.name, said)
    Console(highlight=False).print(table)
