"""What tests of deployments share: a program that is run, a configuration that is taken."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from mlppa.config import DaemonConfig, checked
from mlppa.config.sections import LifeSettings
from mlppa.curve import refuse_open

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent

#: Ports and grace periods are those of the defaults.
LIFE = LifeSettings()
PORT = int(str(LIFE.http).rpartition(":")[2])


def ran(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever that is."""
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=100, **options
    )


def accepted(text: str) -> DaemonConfig:
    """A configuration, as the daemon would take it."""
    config = checked(DaemonConfig, tomllib.loads(text), "the configuration")
    wanted = config.publish
    for address in (wanted.detections, wanted.replay):
        if address is not None and wanted.keys is None and not wanted.open:
            refuse_open(address, "publish.key")
    return config
