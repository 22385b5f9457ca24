"""Detections as VOEvents: files, and alerts to a broker."""

from functools import partial
from pathlib import Path
from typing import cast

from ..disk import make_folder, write_once
from ..errors import InputError
from ..formats.voevent import Publisher, Role, event_document, retraction_document
from ..wire import DetectionMessage, Message
from ..wire.address import address_fault
from ..wire.build import now
from .behind import Behind
from .uris import Options
from .vtp import Broker, deliver

#: Who tells of tests, if nobody says so.
TEST_IVORN = "ivo://mlppa.test/stream"

#: How long the last alerts may take to leave when the sink is closed.
PATIENCE_S = 1.5

#: What only the configuration can tell of the instrument.
NUMBERS = ("beam_semi-major_axis", "beam_semi-minor_axis", "gain", "tsys")
COUNTS = ("npol", "bits_per_sample")
NAMES = ("backend", "galactic_electron_model")


def open_voevent(uri: str) -> "VoeventSink":
    """Open ``voevent:PATH?role=test&ivorn=ivo://…&author=ivo://…&send=HOST:PORT``.

    Raises
    ------
    ConfigError
        An option is wrong; or ``ivorn`` and ``author`` are missing where others hear of
        the events.
    SinkError
        The folder cannot be made.
    """
    options = Options(uri)
    broker = _broker(options)
    publisher = _publisher(options, public=broker is not None)
    options.end()
    return VoeventSink(Path(options.path), publisher, broker)


class VoeventSink:
    """Writes the VOEvent of every detection as ``ID.xml``, and sends it.

    Injected pulses give none, whatever the configuration. What is not sent, because the
    broker does not answer or the program ends, is counted and told; its file stays.

    Parameters
    ----------
    path
        The folder; made when it is not there.
    publisher
        Who tells of events, and with which role.
    broker
        Where documents are sent; None sends none.

    Raises
    ------
    SinkError
        The folder cannot be made.
    """

    name = "voevent"

    def __init__(self, path: Path, publisher: Publisher, broker: Broker | None = None) -> None:
        make_folder(path)
        self.path = path
        self._publisher = publisher
        self._behind: Behind[bytes] | None = None
        if broker is not None:
            work = partial(self._deliver, broker)
            self._behind = Behind(work, sink=self.name, about=str(broker))

    def send(self, message: Message) -> None:
        """Write the event of a detection, and let it be sent."""
        if not isinstance(message, DetectionMessage) or message.injected:
            return
        self._publish(message.id, event_document(message, self._publisher))

    def retract(self, identity: str, reason: str) -> str:
        """Take an event back: write ``ID.retraction.xml``, and let it be sent.

        Parameters
        ----------
        identity
            ``id`` of the detection.
        reason
            Why, for people.

        Returns
        -------
        ivorn
            Of the retraction.

        Raises
        ------
        InputError
            There is no such event here, or its file is damaged.
        SinkError
            The document cannot be written.
        """
        earlier = self.path / f"{identity}.xml"
        remedy = f"look for its file in {self.path}"
        if Path(identity).name != identity:
            raise InputError(f"event {identity!r}", "is no id of a detection", remedy)
        try:
            event = earlier.read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"event {identity}", "was not published here", remedy) from error
        except OSError as error:
            cause = f"cannot be read ({error.strerror})"
            raise InputError(earlier, cause, "check its permissions") from error
        ivorn, document = retraction_document(event, self._publisher, reason, now())
        self._publish(f"{identity}.retraction", document)
        return ivorn

    def close(self) -> None:
        """Give the last alerts a moment to leave."""
        if self._behind is not None:
            self._behind.close(PATIENCE_S)

    def _publish(self, name: str, document: bytes) -> None:
        # An alert goes out even where the disk is full.
        try:
            write_once(self.path / f"{name}.xml", document)
        finally:
            if self._behind is not None:
                self._behind.put(document)

    def _deliver(self, broker: Broker, document: bytes) -> None:
        assert self._behind is not None
        deliver(document, broker, self._behind.pause)


def _broker(options: Options) -> Broker | None:
    address = options.text("send")
    if address is None:
        return None
    if address_fault(f"tcp://{address}", bound=False):
        raise options.fault("send", "is not HOST:PORT")
    host, _, port = address.rpartition(":")
    return Broker(host.strip("[]"), int(port))


def _publisher(options: Options, *, public: bool) -> Publisher:
    role = options.text("role") or "test"
    if role not in ("test", "observation"):
        raise options.fault("role", "is neither test nor observation")
    ivorn, author = options.text("ivorn"), options.text("author")
    for name, value in {"ivorn": ivorn, "author": author}.items():
        if value is None and (public or role == "observation"):
            cause = "is missing: others must know who tells them"
            raise options.fault(name, cause)
        if value is not None and not _is_ivorn(value):
            raise options.fault(name, "is not of the form ivo://authority/key")
    return Publisher(
        role=cast(Role, role),
        ivorn=ivorn or TEST_IVORN,
        author=author or TEST_IVORN,
        contact=options.text("contact") or "",
        email=options.text("email") or "",
        observatory=options.text("observatory") or "",
        instrument=_instrument(options),
    )


def _instrument(options: Options) -> dict[str, str | int | float]:
    given: dict[str, str | int | float | None] = {}
    for name in NUMBERS:
        given[name] = options.number(name)
    for name in COUNTS:
        number = options.number(name, most=4096)
        given[name] = None if number is None else round(number)
    for name in NAMES:
        given[name] = options.text(name)
    given["beam_rotation_angle"] = _angle(options, "beam_rotation_angle")
    return {name: value for name, value in given.items() if value is not None}


def _angle(options: Options, name: str) -> float | None:
    text = options.text(name)
    try:
        angle = 0.0 if text is None else float(text)
    except ValueError:
        angle = float("nan")
    if not -360 <= angle <= 360:
        raise options.fault(name, "is no angle in degrees")
    return None if text is None else angle


def _is_ivorn(text: str) -> bool:
    """Whether a text names an authority and a key, as a stream of events must."""
    authority, slash, key = text.removeprefix("ivo://").partition("/")
    plain = all(c.isascii() and (c.isalnum() or c in "._-/+~") for c in authority + key)
    return text.startswith("ivo://") and len(authority) > 2 and bool(slash and key) and plain
