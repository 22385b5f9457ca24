"""A program of the user's that is run for every detection."""

import logging
import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path

from ..errors import ConfigError, SinkError
from ..metrics import DROPPED
from ..wire import DetectionMessage, Message, encode
from .behind import Behind
from .uris import Options

logger = logging.getLogger(__name__)

TIMEOUT_S = 10.0
MOST_PER_MINUTE = 30

#: What the program gets of our environment, beside MLPPA_ID.
ENVIRONMENT = ("PATH", "HOME", "LANG")

#: Of what the program says on stderr, so much of the end is looked at,
LAST_WORDS_BYTES = 4096
#: and so much of its last line goes into the log.
LONGEST_LINE = 200

#: A pipe holds so much.
PIPE_BYTES = 1 << 16

#: How often to look whether a program has ended that left its stderr to another one.
LOOK_S = 0.05

#: How long the programs that are still to be run may take at the end.
PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, and how often.

    Parameters
    ----------
    argv
        The program and its arguments.
    timeout_s
        After so long it is killed, and all that it started with it.
    most_per_minute
        Detections beyond that are left out.
    """

    argv: tuple[str, ...]
    timeout_s: float = TIMEOUT_S
    most_per_minute: float = MOST_PER_MINUTE


def open_hook(uri: str) -> "HookSink":
    """Open ``exec:/path/to/program?arg=--flag&arg=x&timeout_s=10&most_per_minute=30``.

    Raises
    ------
    ConfigError
        An option is wrong, or there is no such program, or it may not be run.
    """
    options = Options(uri)
    path = Path(options.path)
    arguments = options.texts("arg")
    timeout_s = options.number("timeout_s", most=3600) or TIMEOUT_S
    most = options.number("most_per_minute") or MOST_PER_MINUTE
    options.end()
    if not path.is_file():
        raise ConfigError(options.name, "there is no such program", "name a file that is there")
    if not os.access(path, os.X_OK):
        raise ConfigError(options.name, "may not be run", f"allow it: chmod +x {path}")
    if any("\0" in argument for argument in arguments):
        raise options.fault("arg", "has a zero byte")
    argv = (str(path.absolute()), *arguments)
    return HookSink(Program(argv=argv, timeout_s=timeout_s, most_per_minute=most))


class HookSink:
    """Runs a program for every detection that is not injected, one at a time.

    It gets the message as JSON on stdin, and its id as MLPPA_ID. There is no shell. An exit
    code other than 0 is an error of the sink. What is beyond the limit of a minute is
    counted as dropped, and told once.

    Parameters
    ----------
    program
        What to run, and how often.
    """

    name = "exec"

    def __init__(self, program: Program) -> None:
        self._program = program
        self._about = f"exec:{program.argv[0]}"
        self._beyond = DROPPED.labels(queue="exec_limit")
        self._minute_s, self._in_minute = -inf, 0
        self._process: subprocess.Popen[bytes] | None = None
        self._behind = Behind(self._run, sink=self.name, about=self._about)

    def send(self, message: Message) -> None:
        """Let the program be run, if it is for this message and within the limit."""
        if not isinstance(message, DetectionMessage) or message.injected:
            return
        if self._is_within_limit():
            self._behind.put(message)

    def close(self) -> None:
        """Let what waits be run, for as long as one run may take; then kill what runs.

        But whoever ends must not wait for it for long.
        """
        self._behind.close(min(self._program.timeout_s, PATIENCE_S))
        # It may be between two programs: the last one begins at the latest now.
        until_s = time.monotonic() + 1
        while self._behind.alive(0.05) and time.monotonic() < until_s:
            if (process := self._process) is not None:
                _kill(process)

    def _is_within_limit(self) -> bool:
        now_s, most = _now_s(), self._program.most_per_minute
        if now_s - self._minute_s >= 60:
            self._minute_s, self._in_minute = now_s, 0
        self._in_minute += 1
        if self._in_minute <= most:
            return True
        self._beyond.inc()
        if self._in_minute <= most + 1:
            told = "%s: more than %g detections a minute; it is not run for the rest of this one"
            logger.warning(told, self._about, most)
        return False

    def _run(self, message: DetectionMessage) -> None:
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        try:
            process = self._process = subprocess.Popen(
                self._program.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment | {"MLPPA_ID": message.id},
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            cause = f"cannot be run ({error.strerror})"
            raise SinkError(self._about, cause, "look whether it is still there") from error
        try:
            with process:
                try:
                    said = _attend(process, encode(message), self._program.timeout_s)
                except BaseException:
                    _kill(process)
                    raise
        except TimeoutError as error:
            cause = f"still ran after {self._program.timeout_s:g} s for {message.id}"
            raise SinkError(self._about, cause, "make it faster, or raise timeout_s") from error
        finally:
            self._process = None
        code = process.returncode
        if code:
            how = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
            words = _last_line(said)
            cause = f"{how} for {message.id}" + (f" ({words})" if words else "")
            raise SinkError(self._about, cause, "run it by hand with that message")


def _now_s() -> float:
    """Give the time that minutes are counted by."""
    return time.monotonic()


def _attend(process: subprocess.Popen[bytes], text: bytes, timeout_s: float) -> bytes:
    """Feed a program and listen to it until it ends; give the end of what it said.

    TimeoutError where it goes on for longer than it may.
    """
    until_s = time.monotonic() + timeout_s
    assert process.stdin is not None
    assert process.stderr is not None
    stdin, stderr, said = process.stdin, process.stderr, b""
    for pipe in (stdin, stderr):
        os.set_blocking(pipe.fileno(), False)
    with selectors.DefaultSelector() as pipes:
        pipes.register(stdin, selectors.EVENT_WRITE)
        pipes.register(stderr, selectors.EVENT_READ)
        # Its stderr may outlive it, in the hands of what it started.
        while process.poll() is None:
            if time.monotonic() > until_s:
                raise TimeoutError
            for key, _ in pipes.select(LOOK_S if len(pipes.get_map()) else LOOK_S / 5):
                if key.fileobj is stdin:
                    text = _fed(stdin.fileno(), text)
                    if not text:
                        pipes.unregister(stdin)
                        stdin.close()
                elif heard := os.read(stderr.fileno(), PIPE_BYTES):
                    said = (said + heard)[-LAST_WORDS_BYTES:]
                else:
                    pipes.unregister(stderr)
    with suppress(BlockingIOError):
        said += os.read(stderr.fileno(), PIPE_BYTES)
    return said


def _fed(stdin: int, text: bytes) -> bytes:
    """Write what a pipe takes; give the rest, or nothing if nobody reads it."""
    try:
        return text[os.write(stdin, text) :]
    except BrokenPipeError:
        return b""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and all that it started, if it still runs."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _last_line(said: bytes) -> str:
    """Give the last line that says something, as the log can have it."""
    lines = said.decode(errors="replace").strip().splitlines()
    return "".join(c for c in lines[-1] if c.isprintable())[-LONGEST_LINE:] if lines else ""
