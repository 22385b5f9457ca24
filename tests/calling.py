"""The program called as from a shell, in this process."""

import logging
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from mlppa.cli import main

from . import stand_in


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that an error is: thing, cause and remedy."""
        assert re.fullmatch(r"mlppa: error: .+: .+; .+\n", self.err), self.err
        return self.err


type Call = Callable[..., Ended]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Call the program in this process, a formula standing in for its network."""
    for room in ("offline", "confirm"):
        monkeypatch.setattr(f"mlppa.{room}.load_model", stand_in.load_model)

    def call(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["mlppa", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capsys.readouterr())

    level = logging.getLogger().level
    yield call
    logging.getLogger().setLevel(level)
