"""The exception tree: every error that mlppa raises on purpose.

* MlppaError
  - ConfigError        the command or the configuration must change      (exit 2)
  - InputError         the data cannot be used as they are               (exit 3)
    + FormatError      the bytes are not what the format promises
  - EnvironmentFault   something around the program must change          (exit 4)
    + EndpointError    an address cannot be bound or reached
    + ModelError       weights are missing, damaged or do not fit
    + SinkError        a result could not be written or sent

Not exceptions: a gap in the data (a jump in `Block.start`), a late batch (a
verdict of the watchdog), the end of a stream (the iterator ends), a stretch of
sky without a pulse (an empty tuple). Whatever else is raised is a bug: the
program ends with exit code 5 and the supervisor starts it again.
"""


class MlppaError(Exception):
    """Base of the tree; names the thing, the cause and the remedy.

    Parameters
    ----------
    thing
        What the error is about, as the user would name it: a path, an option.
    cause
        What is wrong with it.
    remedy
        What to do about it.
    """

    exit_code = 5

    def __init__(self, thing: object, cause: str, remedy: str) -> None:
        super().__init__(f"{thing}: {cause}; {remedy}")
        self.thing = str(thing)
        self.cause = cause
        self.remedy = remedy

    def __reduce__(self) -> tuple[type["MlppaError"], tuple[str, str, str]]:
        return type(self), (self.thing, self.cause, self.remedy)


class ConfigError(MlppaError):
    """The command line or the configuration is wrong, alone or for these data."""

    exit_code = 2


class InputError(MlppaError):
    """The data cannot be used as they are."""

    exit_code = 3


class FormatError(InputError):
    """The bytes are not what the format or the header promises."""


class EnvironmentFault(MlppaError):
    """Something around the program must change: a device, a file system, a port."""

    exit_code = 4


class EndpointError(EnvironmentFault):
    """An address cannot be bound or reached."""


class ModelError(EnvironmentFault):
    """A model is missing, damaged, or does not fit what is asked of it."""


class SinkError(EnvironmentFault):
    """A result could not be written or sent."""
