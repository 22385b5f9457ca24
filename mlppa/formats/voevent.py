"""VOEvent 2.0 documents of detections, and of their retractions.

The document is the IVOA's (Seaman et al. 2011, VOEvent 2.0); the names of its parameters
are those of the FRB VOEvent standard (Petroff et al. 2017, arXiv:1710.08155, with the
templates and definitions at github.com/ebpetroff/FRB_VOEvent). What is not known is left
out. One group, ``mlppa``, is our own.
"""

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from ..data import LAST_MJD
from ..errors import FormatError
from ..wire import DetectionMessage

type Role = Literal["test", "observation"]
type Value = str | int | float | None

NAMESPACE = "http://www.ivoa.net/xml/VOEvent/v2.0"

#: Times are those at the telescope, positions J2000.
COORDINATES = "UTC-FK5-TOPO"

#: What kind of thing a burst is, in the words of the IVOA.
BURST = "process.variation.burst;em.radio"

#: Types, UCDs and units of parameters.
_KINDS: Mapping[str, tuple[str, str, str]] = {
    "beam_semi-major_axis": ("float", "instr.beam;pos.errorEllipse;phys.angSize.smajAxis", "MM"),
    "beam_semi-minor_axis": ("float", "instr.beam;pos.errorEllipse;phys.angSize.sminAxis", "MM"),
    "beam_rotation_angle": ("float", "instr.beam;pos.errorEllipse;instr.offset", "Degrees"),
    "sampling_time": ("float", "time.resolution", "ms"),
    "bandwidth": ("float", "instr.bandwidth", "MHz"),
    "nchan": ("int", "meta.number;em.freq;em.bin", "None"),
    "centre_frequency": ("float", "em.freq;instr", "MHz"),
    "npol": ("int", "", "None"),
    "bits_per_sample": ("int", "", "None"),
    "gain": ("float", "", "K/Jy"),
    "tsys": ("float", "phot.antennaTemp", "K"),
    "backend": ("string", "", ""),
    "beam": ("string", "", ""),
    "observation_RA": ("float", "obs.param;pos.eq.ra", "Degrees"),
    "observation_DEC": ("float", "obs.param;pos.eq.dec", "Degrees"),
    "target_name": ("string", "", ""),
    "dm": ("float", "phys.dispMeasure", "pc/cm^3"),
    "dm_error": ("float", "stat.error;phys.dispMeasure", "pc/cm^3"),
    "width": ("float", "time.duration;src.var.pulse", "ms"),
    "snr": ("float", "stat.snr", ""),
    "flux": ("float", "phot.flux", "Jy"),
    "gl": ("float", "pos.galactic.lon", "Degrees"),
    "gb": ("float", "pos.galactic.lat", "Degrees"),
    "MW_dm_limit": ("float", "", "pc/cm^3"),
    "galactic_electron_model": ("string", "", ""),
    "id": ("string", "meta.id", ""),
    "stream": ("string", "", ""),
    "probability": ("float", "stat.probability", ""),
    "model": ("string", "", ""),
    "model_sha256": ("string", "", ""),
    "f_lo": ("float", "em.freq;stat.min", "MHz"),
    "f_hi": ("float", "em.freq;stat.max", "MHz"),
    "mjd": ("float", "time.epoch", "d"),
    "mjd_inf": ("float", "time.epoch", "d"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Who tells of events, and with what they are observed.

    Parameters
    ----------
    role
        "observation" for the world to act on, else "test".
    ivorn
        Of the stream of events, such as ``ivo://institute/instrument``; an event's is this
        one, ``#`` and its id.
    author
        IVORN of the author.
    contact, email
        Whom to ask; empty where nobody is named.
    observatory
        Its name; empty stands for the name of the data stream.
    instrument
        What messages do not tell, by the names of the standard: ``beam_semi-major_axis``
        and the like, ``npol``, ``bits_per_sample``, ``gain``, ``tsys``, ``backend``, and
        ``galactic_electron_model``.
    """

    role: Role = "test"
    ivorn: str
    author: str
    contact: str = ""
    email: str = ""
    observatory: str = ""
    instrument: Mapping[str, str | int | float] = field(default_factory=dict)


def event_document(message: DetectionMessage, publisher: Publisher) -> bytes:
    """Give the VOEvent of a detection; the same message gives the same bytes."""
    root = _document(f"{publisher.ivorn}#{message.id}", publisher.role)
    _add_who(root, publisher, message.created)
    what = SubElement(root, "What")
    for name, params in _groups(message, publisher).items():
        _add_group(what, name, params)
    _add_where_and_when(root, message, publisher)
    _add_why(root, message)
    return _bytes(root)


def retraction_document(
    event: bytes, publisher: Publisher, reason: str, created: str
) -> tuple[str, bytes]:
    """Give the IVORN and the document that takes an earlier one back.

    Its role, and where and when, are those of the earlier one.

    Parameters
    ----------
    event
        The earlier document.
    publisher
        Who takes it back.
    reason
        Why.
    created
        Time of the retraction, ISO 8601.

    Raises
    ------
    FormatError
        The earlier document is damaged.
    """
    try:
        earlier = ElementTree.fromstring(event)
    except ElementTree.ParseError as error:
        raise FormatError("VOEvent", f"is damaged ({error})", "retract it by hand") from error
    cited, role = earlier.get("ivorn"), earlier.get("role")
    where = earlier.find("WhereWhen")
    if not cited or not role or where is None:
        raise FormatError("VOEvent", "has no ivorn, role or WhereWhen", "retract it by hand")
    ivorn = f"{cited}-retraction"
    root = _document(ivorn, role)
    _add_who(root, publisher, created)
    root.append(deepcopy(where))
    why = SubElement(root, "Why", importance="0.0")
    _add(why, "Description", reason)
    citations = SubElement(root, "Citations")
    _add(citations, "EventIVORN", cited).set("cite", "retraction")
    _add(citations, "Description", f"retracted: {reason}")
    return ivorn, _bytes(root)


def _document(ivorn: str, role: str) -> Element:
    attributes = {
        "xmlns:voe": NAMESPACE,
        "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
        "xsi:schemaLocation": f"{NAMESPACE} http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd",
        "version": "2.0",
        "role": role,
        "ivorn": ivorn,
    }
    return Element("voe:VOEvent", attributes)


def _bytes(root: Element) -> bytes:
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)) + b"\n"


def _add_who(root: Element, publisher: Publisher, created: str) -> None:
    who = SubElement(root, "Who")
    _add(who, "AuthorIVORN", publisher.author)
    _add(who, "Date", created.removesuffix("Z"))
    if publisher.contact or publisher.email:
        author = SubElement(who, "Author")
        for tag, text in (("contactName", publisher.contact), ("contactEmail", publisher.email)):
            if text:
                _add(author, tag, text)


def _groups(message: DetectionMessage, publisher: Publisher) -> dict[str, dict[str, Value]]:
    """Give the parameters of all groups, in the order of the standard."""
    instrument = dict(publisher.instrument)
    electron_model = instrument.pop("galactic_electron_model", None)
    f_ends = sorted((message.fch1_mhz, message.fch1_mhz + (message.nchans - 1) * message.foff_mhz))
    ra_deg, dec_deg = message.ra_deg, message.dec_deg
    gl, gb = (None, None) if ra_deg is None or dec_deg is None else galactic(ra_deg, dec_deg)
    own = ("id", "stream", "probability", "model", "model_sha256", "mjd", "mjd_inf")
    return {
        "observatory parameters": {
            **instrument,
            "sampling_time": message.tsamp_s * 1e3,
            "bandwidth": message.nchans * abs(message.foff_mhz),
            "nchan": message.nchans,
            "centre_frequency": sum(f_ends) / 2,
            "beam": str(message.beam),
        },
        "observation parameters": {
            "observation_RA": ra_deg,
            "observation_DEC": dec_deg,
            "target_name": message.source_name or None,
        },
        "event parameters": {
            "dm": message.dm,
            "dm_error": message.dm_err,
            "width": message.width_ms,
            "snr": message.snr,
            "flux": _flux_jy(message, publisher.instrument),
            "gl": gl,
            "gb": gb,
        },
        "advanced parameters": {
            "MW_dm_limit": message.dm_galactic,
            "galactic_electron_model": None if message.dm_galactic is None else electron_model,
        },
        "mlppa": {
            **{name: getattr(message, name) for name in own},
            "f_lo": message.f_lo_mhz,
            "f_hi": message.f_hi_mhz,
        },
    }


def _add_group(what: Element, name: str, params: Mapping[str, Value]) -> None:
    known = {key: params[key] for key in _KINDS if params.get(key) is not None}
    if not known:
        return
    group = SubElement(what, "Group", name=name)
    for key, value in known.items():
        kind, ucd, unit = _KINDS[key]
        text = f"{value:.15g}" if isinstance(value, float) else _clean(str(value))
        attributes = {"name": key, "value": text, "dataType": kind, "ucd": ucd, "unit": unit}
        SubElement(group, "Param", {k: v for k, v in attributes.items() if v or k == "value"})


def _add_where_and_when(root: Element, message: DetectionMessage, publisher: Publisher) -> None:
    where = SubElement(root, "WhereWhen")
    location = SubElement(where, "ObsDataLocation")
    observatory = _clean(publisher.observatory) or message.stream
    SubElement(location, "ObservatoryLocation", id=observatory)
    observed = SubElement(location, "ObservationLocation")
    SubElement(observed, "AstroCoordSystem", id=COORDINATES)
    coords = SubElement(observed, "AstroCoords", coord_system_id=COORDINATES)
    instant = SubElement(SubElement(coords, "Time", unit="s"), "TimeInstant")
    _add(instant, "ISOTime", iso_time(message.mjd))
    ra_deg, dec_deg = message.ra_deg, message.dec_deg
    radius = publisher.instrument.get("beam_semi-major_axis")
    # A position must have its error, and that is the beam's.
    if ra_deg is not None and dec_deg is not None and radius is not None:
        position = SubElement(coords, "Position2D", unit="deg")
        _add(position, "Name1", "RA")
        _add(position, "Name2", "Dec")
        value = SubElement(position, "Value2")
        _add(value, "C1", f"{ra_deg:.7g}")
        _add(value, "C2", f"{dec_deg:.7g}")
        _add(position, "Error2Radius", f"{float(radius) / 60:.7g}")
    f_hi_mhz = max(message.fch1_mhz, message.fch1_mhz + (message.nchans - 1) * message.foff_mhz)
    _add(where, "Description", f"arrival at {f_hi_mhz:.10g} MHz, at the telescope")


def _add_why(root: Element, message: DetectionMessage) -> None:
    probability = f"{message.probability:.6g}"
    known, beyond = message.known_source, (message.dm_excess or 0.0) > 0
    date = iso_time(message.mjd)
    name = f"FRB{date[2:4]}{date[5:7]}{date[8:10]}" if beyond else message.id
    why = SubElement(root, "Why", importance=probability)
    _add(why, "Name", known or name)
    _add(why, "Concept", BURST)
    judged = f"the probability of a dispersed pulse that the network {message.model} gives"
    _add(why, "Description", f"importance is {judged}")
    inference = SubElement(why, "Inference", probability=probability)
    _add(inference, "Name", "dispersed pulse")
    _add(inference, "Concept", BURST)
    if known:
        other = SubElement(why, "Inference", relation="identified")
        _add(other, "Name", known)
        _add(other, "Description", "a known source at this place and of this DM")


def _flux_jy(
    message: DetectionMessage, instrument: Mapping[str, str | int | float]
) -> float | None:
    """Peak flux density by the radiometer equation, if the instrument is known."""
    try:
        gain, tsys, npol = (float(instrument[name]) for name in ("gain", "tsys", "npol"))
    except KeyError:
        return None
    band_mhz = message.nchans * abs(message.foff_mhz)
    if message.f_lo_mhz is not None and message.f_hi_mhz is not None:
        band_mhz = message.f_hi_mhz - message.f_lo_mhz + abs(message.foff_mhz)
    samples = npol * band_mhz * message.width_ms * 1e3
    return float(f"{message.snr * tsys / (gain * math.sqrt(samples)):.6g}")


def galactic(ra_deg: float, dec_deg: float) -> tuple[float, float]:
    """Give the Galactic longitude and latitude of a J2000 position, degrees.

    The pole and the origin are those of the Hipparcos catalogue (ESA 1997, SP-1200, vol. 1,
    eq. 1.5.11).
    """
    pole_ra, pole_dec, origin = (math.radians(x) for x in (192.85948, 27.12825, 32.93192))
    ra, dec = math.radians(ra_deg) - pole_ra, math.radians(dec_deg)
    sine = math.sin(dec) * math.sin(pole_dec) + math.cos(dec) * math.cos(pole_dec) * math.cos(ra)
    along = math.sin(dec) * math.cos(pole_dec) - math.cos(dec) * math.sin(pole_dec) * math.cos(ra)
    longitude = math.atan2(along, math.cos(dec) * math.sin(ra)) + origin
    latitude = math.degrees(math.asin(max(-1.0, min(1.0, sine))))
    return round(math.degrees(longitude) % 360, 5), round(latitude, 5)


def iso_time(mjd: float) -> str:
    """Give a date as ISO 8601 to the microsecond, without a zone, as VOEvent has it (UTC)."""
    then = datetime(1858, 11, 17) + timedelta(days=min(mjd, LAST_MJD))
    return then.isoformat(timespec="microseconds")


def _add(parent: Element, tag: str, text: str) -> Element:
    child = SubElement(parent, tag)
    child.text = _clean(text)
    return child


def _clean(text: str) -> str:
    """Leave out what is no character of XML, and control characters."""
    return "".join(c for c in text if c.isprintable())
