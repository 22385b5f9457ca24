"""What the URI of a sink says: ``scheme:path?option=value&…``."""

from urllib.parse import parse_qsl

from ..errors import ConfigError


class Options:
    """The options of a URI, each taken once; what nobody takes is refused by `end`.

    Errors and the log never show values, which may be secret.

    Parameters
    ----------
    uri
        Values are percent-encoded: ``%26`` is an ``&``, ``%2B`` a ``+``.

    Attributes
    ----------
    name
        The URI without its options, for the log.
    path
        What stands between scheme and options.

    Raises
    ------
    ConfigError
        Here and by every method: the path is missing, an option wrong or given twice.
    """

    def __init__(self, uri: str) -> None:
        self.name, _, query = uri.partition("?")
        self.path = self.name.partition(":")[2]
        self._pairs = parse_qsl(query, keep_blank_values=True)
        if not self.path:
            raise ConfigError(self.name, "names no path", f"give one like {self.name}/a/path")

    def texts(self, name: str) -> list[str]:
        """Take an option that may be given several times."""
        found = [value for key, value in self._pairs if key == name]
        self._pairs = [pair for pair in self._pairs if pair[0] != name]
        return found

    def text(self, name: str) -> str | None:
        """Take an option; None where it is not given."""
        found = self.texts(name)
        if len(found) > 1:
            raise ConfigError(self.name, f"option {name} is given twice", "give it once")
        return found[0] if found else None

    def number(self, name: str, most: float = 1e18) -> float | None:
        """Take a number above 0 and up to a limit; None where it is not given."""
        text = self.text(name)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not 0 < value <= most:
            raise self.fault(name, f"is no number above 0 and up to {most:g}")
        return value

    def fault(self, name: str, cause: str) -> ConfigError:
        """Give the error of an option's value."""
        return ConfigError(self.name, f"option {name} {cause}", "correct it or leave it out")

    def end(self) -> None:
        """Refuse what nobody has taken."""
        if self._pairs:
            names = ", ".join(dict.fromkeys(key for key, _ in self._pairs))
            raise ConfigError(self.name, f"unknown option {names}", "leave it out")
