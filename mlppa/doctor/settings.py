"""What a configuration asks of the machine."""

from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path

from ..classify import model_card
from ..config import DaemonConfig, Plan, naming
from ..errors import ConfigError, InputError, MlppaError, ModelError
from ..sources import open_source
from .finding import Finding, Level, Needs

#: A finding of this name is about the configuration, not the machine.
CONFIGURATION = "configuration"

#: Schemes of addresses that are listened at.
_BOUND = ("tcp:", "ipc:", "spead:")


def read_needs(path: Path) -> tuple[Needs, list[Finding]]:
    """Read what a configuration needs, and what is wrong with it."""
    about: Finding | None = None
    memory_bytes: int | None = None
    try:
        config = DaemonConfig.load(path)
        with naming(lambda key: f"{path}: {key}"):
            memory_bytes = _memory_bytes(config)
        if memory_bytes is None:
            about = Finding("input", "unknown", "no header, and no plan, before the stream begins")
    except ConfigError as error:
        return Needs(), [_finding(CONFIGURATION, "fault", error)]
    except ModelError as error:
        about = _finding("model", "fault", error)
    except InputError as error:
        # a configuration may be written before there are data
        is_absent = isinstance(error.__cause__, FileNotFoundError)
        about = _finding("input", "warning" if is_absent else "fault", error)
    fine = Finding(CONFIGURATION, "fine", f"{path} is valid")
    return _needs(config, memory_bytes), [fine, about] if about else [fine]


def _finding(name: str, level: Level, error: MlppaError) -> Finding:
    return Finding(name, level, f"{error.thing}: {error.cause}", error.remedy)


def _needs(config: DaemonConfig, memory_bytes: int | None) -> Needs:
    """Say what the machine must give. All that is known of the configuration's keys is here."""
    published = [
        ("publish.detections", config.publish.detections or ""),
        ("publish.replay", config.publish.replay or ""),
        *(("input", uri) for uri in config.input if uri.startswith("spead:")),
    ]
    return Needs(
        configured=True,
        inputs=tuple(config.input),
        output=config.output,
        bound=tuple(pair for pair in published if pair[1].startswith(_BOUND)),
        threads=config.search.threads,
        device=config.classify.device,
        memory_bytes=memory_bytes,
    )


def _memory_bytes(config: DaemonConfig) -> int | None:
    """Estimate what the search holds; None for live inputs."""
    card = model_card(config.classify.model)
    live = entry_points(group="mlppa.feeds").names
    if any(uri.partition(":")[0] in live for uri in config.input):
        return None
    with closing(open_source(config.input)) as source:
        return Plan.make(config.search, source.header, card.res).memory_bytes
