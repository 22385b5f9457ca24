"""Which files of a folder may have changed."""

import logging
import os
from collections.abc import Generator
from pathlib import Path

from watchfiles import watch
from watchfiles.main import FileChange

logger = logging.getLogger(__name__)
# It would tell of every change.
logging.getLogger("watchfiles").setLevel(logging.WARNING)

#: How often all names are read: beside notices of the system, and where there are none.
SCAN_EVERY_S = 10.0
POLL_EVERY_S = 1.0


class Watch:
    """Names the files of a folder that may have changed.

    Notices of the system come soon, but it may lose some, and on network file systems it has
    none of what others write. So all names are read now and then, and whenever the folder is
    another one than before.

    Parameters
    ----------
    folder
        The folder; it may go away and come back.
    poll
        Whether to do without notices.
    """

    def __init__(self, folder: Path, *, poll: bool) -> None:
        self._folder = folder
        self._poll = poll
        self._identity: tuple[int, int] | None = None
        self._notices: Generator[set[FileChange], None, None] | None = None
        self._scan_at_s = 0.0
        self._away = False

    def changed(self, now: float) -> tuple[set[str], bool]:
        """Give names, and whether they are all that are there.

        Parameters
        ----------
        now
            The `time.monotonic` of the look.
        """
        try:
            if self._is_another():
                self._begin(now)
            # Notices first: what comes after them is noticed next time.
            names = {os.path.basename(path) for _, path in self._noticed()}  # noqa: PTH119
            if now < self._scan_at_s:
                return names, False
            names = set(os.listdir(self._folder))  # noqa: PTH208 - names will do
        except OSError as error:
            self._miss(error)
            return set(), False
        self._scan_at_s = now + (POLL_EVERY_S if self._poll else SCAN_EVERY_S)
        if self._away:
            logger.warning("%s: is there again", self._folder)
        self._away = False
        return names, True

    def close(self) -> None:
        """Want no more notices."""
        # Not closed by hand: a generator that runs in another thread must not be.
        self._notices = None

    def _is_another(self) -> bool:
        """Whether it was replaced, mounted or unmounted since."""
        status = self._folder.stat()
        before, self._identity = self._identity, (status.st_dev, status.st_ino)
        return before != self._identity

    def _begin(self, now: float) -> None:
        self.close()
        self._scan_at_s = now
        if not self._poll:
            # Notices gather between two looks, and a look takes about a millisecond. All kinds
            # are taken: with a filter it would wait on while it hears of other files.
            self._notices = watch(
                self._folder,
                watch_filter=None,
                debounce=10,
                step=1,
                rust_timeout=1,
                yield_on_timeout=True,
                force_polling=False,
                recursive=False,
            )

    def _noticed(self) -> set[FileChange]:
        if self._notices is None:
            return set()
        try:
            return next(self._notices)
        except FileNotFoundError:
            raise
        except OSError as error:
            # Not its own polling: that compares whole seconds, and misses growth within one.
            text = "%s: the system gives no notice of changes (%s): it is read every second instead"
            logger.warning(text, self._folder, error)
            self._poll, self._notices = True, None
            return set()

    def _miss(self, error: OSError) -> None:
        self.close()
        self._identity = None
        if not self._away:
            cause = error.strerror or str(error)
            logger.warning("%s: cannot be read (%s): waiting for it", self._folder, cause)
        self._away = True
