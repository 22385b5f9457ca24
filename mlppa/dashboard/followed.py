"""What a person asks to see, found: a folder of this machine, or a daemon elsewhere."""

import logging
import time
from collections.abc import Callable, Generator
from pathlib import Path
from urllib.parse import urlsplit

from ..config import DaemonConfig
from ..curve import Keys
from ..errors import ConfigError, MlppaError
from ..wire.address import ADDRESS_REMEDY, address_fault
from .folder import Folder
from .heard import Fault, Followed, Heard
from .publisher import Publisher, find_daemon

log = logging.getLogger(__name__)

#: How often something is looked for that is not there yet.
AGAIN_S = 0.25


class Awaited:
    """A source that may not be there yet: it is looked for until it is.

    Parameters
    ----------
    label
        What to call it meanwhile.
    find
        Gives it; what it raises is told, and it is called again.
    """

    def __init__(self, label: str, find: Callable[[], Followed]) -> None:
        self.label = label
        self._find = find
        self._found: Followed | None = None
        self._closed = False

    def heard(self) -> Generator[Heard | None]:
        """Look for it, and follow it."""
        fault = ""
        while self._found is None and not self._closed:
            try:
                self._found = self._find()
            except MlppaError as error:
                if str(error) != fault:
                    fault = str(error)
                    log.warning("%s", fault)
                    yield Fault(self.label, fault)
                yield None
                time.sleep(AGAIN_S)
        yield Fault(self.label, "")
        if self._found is not None:
            yield from self._found.heard()

    def picture(self, name: str) -> bytes | None:
        """Ask it, once it is there."""
        return None if self._found is None else self._found.picture(name)

    def close(self) -> None:
        """End."""
        self._closed = True
        if self._found is not None:
            self._found.close()


def follow(who: str, keys: Keys | None = None, replay: str | None = None) -> Followed:
    """Follow what a person names.

    Parameters
    ----------
    who
        An output folder; the configuration of a daemon on this machine; ``http://HOST:PORT``
        of a daemon; or the ZeroMQ address of a publisher.
    keys, replay
        For what is followed over ZeroMQ; a daemon tells its replay address by itself.

    Raises
    ------
    ConfigError
        It is none of these. What only is not there yet is waited for.
    """
    if who.startswith(("http://", "https://")):
        if urlsplit(who).hostname is None:
            raise ConfigError(who, "names no host", "give one like http://127.0.0.1:9177")
        return Awaited(who, lambda: find_daemon(who.rstrip("/"), keys))
    if "://" in who:
        for address in (who, replay):
            if address is not None and (fault := address_fault(address, bound=False)):
                raise ConfigError(address, fault, ADDRESS_REMEDY)
        return Publisher(who, replay, keys)
    path = Path(who)
    if path.is_file() and path.suffix == ".toml":
        # one that is being edited must not take the page of the others away
        return Awaited(who, lambda: Folder(DaemonConfig.load(path).output))
    if path.is_dir():
        return Folder(path)
    remedy = "name an output folder, a daemon's *.toml, or its http:// or tcp:// address"
    cause = "is neither a folder nor a *.toml" if path.exists() else "is not there"
    raise ConfigError(who, cause, remedy)
