"""What a sink does without letting the stream wait for it."""

import logging
from collections.abc import Callable

from ..channel import Worker
from ..errors import SinkError
from ..metrics import SINK_ERRORS

logger = logging.getLogger(__name__)

#: Messages that may wait for something slow.
DEPTH = 256


class Behind[T]:
    """Slow work of a sink, in a thread behind a bounded queue.

    What fails is counted as an error of the sink, and told when it is news.

    Parameters
    ----------
    work
        Called with one item at a time; raises SinkError where it fails.
    sink
        Name of the sink: of its errors and its queue in the metrics.
    about
        What the log calls it.
    depth
        How many items may wait.
    """

    def __init__(
        self, work: Callable[[T], None], *, sink: str, about: str, depth: int = DEPTH
    ) -> None:
        self._work, self._about, self._depth = work, about, depth
        self._errors = SINK_ERRORS.labels(sink=sink)
        self._failed = 0
        self._worker = Worker(self._try, depth, name=sink)

    def put(self, item: T) -> None:
        """Leave an item to the thread.

        Raises
        ------
        SinkError
            As many wait as may: this one is dropped and counted.
        """
        if not self._worker.put(item):
            cause = f"{self._depth} wait already"
            raise SinkError(self._about, cause, "find out what it waits for")

    def pause(self, seconds: float) -> None:
        """Let the work wait, unless it is to end."""
        self._worker.pause(seconds)

    def close(self, patience_s: float) -> None:
        """Let what waits be done, for so long at most, and tell what is left undone."""
        if left := self._worker.close(patience_s):
            logger.warning("%s: closed with %d still waiting", self._about, left)
        if self._worker.alive():
            told = "%s: still busy %g s after it was asked to stop"
            logger.warning(told, self._about, patience_s)

    def alive(self, patience_s: float = 0.0) -> bool:
        """Whether the thread still works, after so long at most."""
        return self._worker.alive(patience_s)

    def _try(self, item: T) -> None:
        try:
            self._work(item)
        except SinkError as error:
            self._errors.inc()
            if not self._failed:
                logger.warning("%s fails: %s", self._about, error)
            self._failed += 1
        else:
            if self._failed:
                logger.warning("%s works again; it missed %d", self._about, self._failed)
            self._failed = 0
