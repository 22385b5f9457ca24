"""VOEvents: what the standards ask for, never of an injected pulse, and heard by a broker."""

import errno
import math
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from mlppa.data import Detection
from mlppa.errors import ConfigError, InputError, SinkError
from mlppa.formats import voevent
from mlppa.formats.voevent import Publisher, event_document, galactic, iso_time
from mlppa.sinks import open_sink, vtp
from mlppa.sinks.voevent import VoeventSink
from mlppa.wire import DetectionMessage
from mlppa.wire import detection_message as build

from .calling import Call
from .conftest import MetricDelta
from .messages import CREATED, HEADER, ORIGIN, candidate, cov_message, detection_message

SOON_S = 5.0
IVORN = "ivo://org.example/askap"
WHO = f"ivorn={IVORN}&author={IVORN}/contact"
INSTRUMENT: dict[str, str | int | float] = {
    "beam_semi-major_axis": 30.0,
    "beam_semi-minor_axis": 25.0,
    "beam_rotation_angle": -45.0,
    "npol": 2,
    "bits_per_sample": 8,
    "gain": 0.1,
    "tsys": 50.0,
    "backend": "CRAFT",
    "galactic_electron_model": "YMW16",
}
PUBLISHER = Publisher(
    ivorn=IVORN,
    author=f"{IVORN}/contact",
    contact="A. N. Astronomer",
    email="someone@example.org",
    observatory="ASKAP",
    instrument=INSTRUMENT,
)
NAMESPACE = "{http://www.ivoa.net/xml/VOEvent/v2.0}"


def message(**changed: Any) -> DetectionMessage:
    return detection_message().model_copy(update={"seq": 7, **changed})


def known(**changed: Any) -> DetectionMessage:
    """Give a message that says where it comes from."""
    context = {"ra_deg": 215.5, "dec_deg": -0.25, "dm_galactic": 30.0, "dm_excess": 332.42}
    return message(**context | changed)


def parsed(document: bytes) -> Element:
    root = ElementTree.fromstring(document)
    assert_structure(root)
    return root


def parameters(root: Element) -> dict[str, dict[str, str | None]]:
    return {
        str(group.get("name")): {str(p.get("name")): p.get("value") for p in group}
        for group in root.iterfind("What/Group")
    }


#: What may stand in what, as the schema of VOEvent 2.0 has it, as far as we use it: the
#: children of an element, how often each (least, most), and the attributes it must have.
MANY = math.inf
STRUCTURE: dict[str, tuple[dict[str, tuple[int, float]], set[str]]] = {
    f"{NAMESPACE}VOEvent": (
        {
            **dict.fromkeys(("Who", "What", "WhereWhen", "How", "Why", "Citations"), (0, 1)),
            **dict.fromkeys(("Description", "Reference"), (0, 1)),
        },
        {"version", "ivorn", "role"},
    ),
    "Who": (dict.fromkeys(("AuthorIVORN", "Date", "Description", "Author"), (0, 1)), set()),
    "Author": (dict.fromkeys(("title", "shortName", "contactName", "contactEmail"), (0, 9)), set()),
    "What": ({"Param": (0, MANY), "Group": (0, MANY), "Description": (0, MANY)}, set()),
    "Group": ({"Param": (1, MANY), "Description": (0, 1)}, {"name"}),
    "Param": ({"Description": (0, 1)}, {"name", "value"}),
    "WhereWhen": ({"ObsDataLocation": (1, 1), "Description": (0, 1)}, set()),
    "ObsDataLocation": ({"ObservatoryLocation": (1, 1), "ObservationLocation": (1, 1)}, set()),
    "ObservatoryLocation": ({"AstroCoordSystem": (0, 1), "AstroCoords": (0, 1)}, {"id"}),
    "ObservationLocation": ({"AstroCoordSystem": (1, 1), "AstroCoords": (1, 1)}, set()),
    "AstroCoordSystem": ({}, {"id"}),
    "AstroCoords": ({"Time": (0, 1), "Position2D": (0, 1)}, {"coord_system_id"}),
    "Time": ({"TimeInstant": (1, 1), "Error": (0, 1)}, {"unit"}),
    "TimeInstant": ({"ISOTime": (1, 1)}, set()),
    "Position2D": (
        {"Name1": (0, 1), "Name2": (0, 1), "Value2": (1, 1), "Error2Radius": (1, 1)},
        {"unit"},
    ),
    "Value2": ({"C1": (1, 1), "C2": (1, 1)}, set()),
    "Why": (
        dict.fromkeys(("Name", "Concept", "Inference", "Description"), (0, MANY)),
        {"importance"},
    ),
    "Inference": (dict.fromkeys(("Name", "Concept", "Description"), (0, MANY)), set()),
    "Citations": ({"EventIVORN": (1, MANY), "Description": (0, 1)}, set()),
    "EventIVORN": ({}, {"cite"}),
}
FLOATS = ("C1", "C2", "Error2Radius")
CHOICES = {
    "role": {"observation", "prediction", "utility", "test"},
    "dataType": {"string", "float", "int"},
    "cite": {"followup", "supersedes", "retraction"},
    "coord_system_id": {
        "-".join(parts) for parts in product(("UTC", "TT", "GPS"), ("ICRS", "FK5"), ("TOPO", "GEO"))
    },
}


def assert_structure(element: Element) -> None:
    """Hold a document against the rules above."""
    children, attributes = STRUCTURE.get(element.tag, ({}, set()))
    tags = [child.tag for child in element]
    assert set(tags) <= set(children), f"{element.tag} has {set(tags) - set(children)}"
    for tag, (least, most) in children.items():
        assert least <= tags.count(tag) <= most, f"{element.tag} has {tags.count(tag)} {tag}"
    assert attributes <= set(element.keys()), f"{element.tag} lacks an attribute"
    for name, choices in CHOICES.items():
        assert element.get(name, next(iter(choices))) in choices
    for number in (element.get("importance"), element.get("probability")):
        assert number is None or 0 <= float(number) <= 1
    if element.tag in FLOATS:
        assert math.isfinite(float(element.text or ""))
    if element.get("dataType") in ("int", "float"):
        assert math.isfinite(float(element.get("value") or ""))
    if element.get("dataType") == "int":
        int(element.get("value") or "")
    for child in element:
        assert_structure(child)


DOCUMENTS: dict[str, Callable[[], bytes]] = {
    "all": lambda: event_document(known(), PUBLISHER),
    "least": lambda: event_document(
        message(source_name="", f_lo_mhz=None, f_hi_mhz=None),
        Publisher(ivorn=IVORN, author=IVORN),
    ),
    "known source": lambda: event_document(known(known_source="B1919+21"), PUBLISHER),
    "retraction": lambda: retraction()[1],
}


def retraction() -> tuple[str, bytes]:
    event = event_document(known(), replace(PUBLISHER, role="observation"))
    return voevent.retraction_document(event, PUBLISHER, "a <radar>", CREATED)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_structure_is_that_of_the_standard(name: str) -> None:
    assert_structure(ElementTree.fromstring(DOCUMENTS[name]()))


@pytest.mark.skipif(
    find_spec("voeventparse") is None or find_spec("lxml") is None,
    reason="the IVOA's schema is in the package voevent-parse, which is not installed",
)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_schema_of_the_ivoa_takes_it(name: str) -> None:
    etree, definitions = map(import_module, ("lxml.etree", "voeventparse.definitions"))
    schema = etree.XMLSchema(etree.fromstring(definitions.v2_0_schema_str))
    schema.assertValid(etree.fromstring(DOCUMENTS[name]()))


GOLDEN = b"""\
<?xml version='1.0' encoding='UTF-8'?>
<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.ivoa.net/xml/VOEvent/v2.0 http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd" version="2.0" role="test" ivorn="ivo://org.example/askap#askap-b7-58484.250142887-dm362.42">
  <Who>
    <AuthorIVORN>ivo://org.example/askap/contact</AuthorIVORN>
    <Date>2026-01-02T03:04:05.678</Date>
    <Author>
      <contactName>A. N. Astronomer</contactName>
      <contactEmail>someone@example.org</contactEmail>
    </Author>
  </Who>
  <What>
    <Group name="observatory parameters">
      <Param name="beam_semi-major_axis" value="30" dataType="float" ucd="instr.beam;pos.errorEllipse;phys.angSize.smajAxis" unit="MM" />
      <Param name="beam_semi-minor_axis" value="25" dataType="float" ucd="instr.beam;pos.errorEllipse;phys.angSize.sminAxis" unit="MM" />
      <Param name="beam_rotation_angle" value="-45" dataType="float" ucd="instr.beam;pos.errorEllipse;instr.offset" unit="Degrees" />
      <Param name="sampling_time" value="1" dataType="float" ucd="time.resolution" unit="ms" />
      <Param name="bandwidth" value="336" dataType="float" ucd="instr.bandwidth" unit="MHz" />
      <Param name="nchan" value="336" dataType="int" ucd="meta.number;em.freq;em.bin" unit="None" />
      <Param name="centre_frequency" value="1296.5" dataType="float" ucd="em.freq;instr" unit="MHz" />
      <Param name="npol" value="2" dataType="int" unit="None" />
      <Param name="bits_per_sample" value="8" dataType="int" unit="None" />
      <Param name="gain" value="0.1" dataType="float" unit="K/Jy" />
      <Param name="tsys" value="50" dataType="float" ucd="phot.antennaTemp" unit="K" />
      <Param name="backend" value="CRAFT" dataType="string" />
      <Param name="beam" value="7" dataType="string" />
    </Group>
    <Group name="observation parameters">
      <Param name="observation_RA" value="215.5" dataType="float" ucd="obs.param;pos.eq.ra" unit="Degrees" />
      <Param name="observation_DEC" value="-0.25" dataType="float" ucd="obs.param;pos.eq.dec" unit="Degrees" />
      <Param name="target_name" value="FRB 190101" dataType="string" />
    </Group>
    <Group name="event parameters">
      <Param name="dm" value="362.42" dataType="float" ucd="phys.dispMeasure" unit="pc/cm^3" />
      <Param name="dm_error" value="0.1237" dataType="float" ucd="stat.error;phys.dispMeasure" unit="pc/cm^3" />
      <Param name="width" value="4" dataType="float" ucd="time.duration;src.var.pulse" unit="ms" />
      <Param name="snr" value="23.457" dataType="float" ucd="stat.snr" />
      <Param name="flux" value="7.15365" dataType="float" ucd="phot.flux" unit="Jy" />
      <Param name="gl" value="345.11919" dataType="float" ucd="pos.galactic.lon" unit="Degrees" />
      <Param name="gb" value="55.02544" dataType="float" ucd="pos.galactic.lat" unit="Degrees" />
    </Group>
    <Group name="advanced parameters">
      <Param name="MW_dm_limit" value="30" dataType="float" unit="pc/cm^3" />
      <Param name="galactic_electron_model" value="YMW16" dataType="string" />
    </Group>
    <Group name="mlppa">
      <Param name="id" value="askap-b7-58484.250142887-dm362.42" dataType="string" ucd="meta.id" />
      <Param name="stream" value="askap" dataType="string" />
      <Param name="probability" value="0.998765" dataType="float" ucd="stat.probability" />
      <Param name="model" value="dmt-64" dataType="string" />
      <Param name="model_sha256" value="abababababababababababababababababababababababababababababababab" dataType="string" />
      <Param name="f_lo" value="1129" dataType="float" ucd="em.freq;stat.min" unit="MHz" />
      <Param name="f_hi" value="1464" dataType="float" ucd="em.freq;stat.max" unit="MHz" />
      <Param name="mjd" value="58484.2501428866" dataType="float" ucd="time.epoch" unit="d" />
      <Param name="mjd_inf" value="58484.2501347669" dataType="float" ucd="time.epoch" unit="d" />
    </Group>
  </What>
  <WhereWhen>
    <ObsDataLocation>
      <ObservatoryLocation id="ASKAP" />
      <ObservationLocation>
        <AstroCoordSystem id="UTC-FK5-TOPO" />
        <AstroCoords coord_system_id="UTC-FK5-TOPO">
          <Time unit="s">
            <TimeInstant>
              <ISOTime>2019-01-01T06:00:12.345400</ISOTime>
            </TimeInstant>
          </Time>
          <Position2D unit="deg">
            <Name1>RA</Name1>
            <Name2>Dec</Name2>
            <Value2>
              <C1>215.5</C1>
              <C2>-0.25</C2>
            </Value2>
            <Error2Radius>0.5</Error2Radius>
          </Position2D>
        </AstroCoords>
      </ObservationLocation>
    </ObsDataLocation>
    <Description>arrival at 1464 MHz, at the telescope</Description>
  </WhereWhen>
  <Why importance="0.998765">
    <Name>FRB190101</Name>
    <Concept>process.variation.burst;em.radio</Concept>
    <Description>importance is the probability of a dispersed pulse that the network dmt-64 gives</Description>
    <Inference probability="0.998765">
      <Name>dispersed pulse</Name>
      <Concept>process.variation.burst;em.radio</Concept>
    </Inference>
  </Why>
</voe:VOEvent>
"""  # noqa: E501


def test_the_bytes_of_a_document_stay() -> None:
    assert event_document(known(), PUBLISHER) == GOLDEN


def test_what_the_instrument_is_comes_from_the_configuration() -> None:
    found = parameters(parsed(event_document(known(), PUBLISHER)))
    assert list(found["observatory parameters"]) == [
        *("beam_semi-major_axis", "beam_semi-minor_axis", "beam_rotation_angle", "sampling_time"),
        *("bandwidth", "nchan", "centre_frequency", "npol", "bits_per_sample", "gain", "tsys"),
        *("backend", "beam"),
    ]
    assert found["observatory parameters"]["centre_frequency"] == "1296.5"
    assert found["observatory parameters"]["bandwidth"] == "336"
    least = parameters(parsed(DOCUMENTS["least"]()))
    assert set(least["observatory parameters"]) == {
        *("sampling_time", "bandwidth", "nchan", "centre_frequency", "beam")
    }
    assert "flux" not in least["event parameters"]
    assert "observation parameters" not in least


def test_flux_is_that_of_the_radiometer_equation() -> None:
    found = parameters(parsed(event_document(known(), PUBLISHER)))["event parameters"]
    expected_jy = 23.457 * 50.0 / (0.1 * math.sqrt(2 * 336e6 * 4e-3))
    assert float(found["flux"] or "") == pytest.approx(expected_jy, rel=1e-6)


def test_role_is_test_unless_told_otherwise(tmp_path: Path) -> None:
    for options, role in (("", "test"), (f"?role=observation&{WHO}", "observation")):
        with closing(open_sink(f"voevent:{tmp_path}{options}")) as sink:
            sink.send(message())
        root = parsed((tmp_path / f"{message().id}.xml").read_bytes())
        assert root.get("role") == role


def test_an_injected_pulse_gives_no_event(tmp_path: Path) -> None:
    sink = VoeventSink(tmp_path, replace(PUBLISHER, role="observation"))
    sink.send(message(injected=True))
    sink.send(cov_message(0))
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_position_has_the_error_of_the_beam() -> None:
    with_beam = parsed(event_document(known(), PUBLISHER))
    position = with_beam.find(".//Position2D")
    assert position is not None
    assert [position.findtext(p) for p in ("Value2/C1", "Value2/C2", "Error2Radius")] == [
        *("215.5", "-0.25", "0.5")
    ]
    without = parsed(event_document(known(), replace(PUBLISHER, instrument={})))
    assert without.find(".//Position2D") is None, "an error that nobody knows is not made up"
    assert parameters(without)["observation parameters"]["observation_RA"] == "215.5"


def test_galactic_coordinates_are_those_of_astropy() -> None:
    astropy = pytest.importorskip("astropy.coordinates")
    for ra_deg, dec_deg in ((0, 0), (266.4, -29), (192.86, 27.13), (359, -89), (83.63, 22.01)):
        there = astropy.SkyCoord(ra_deg, dec_deg, unit="deg").galactic
        here = galactic(ra_deg, dec_deg)
        ours = astropy.SkyCoord(*here, unit="deg", frame="galactic")
        assert there.separation(ours).arcsec < 0.5


def test_times_are_to_the_microsecond() -> None:
    assert iso_time(51544.5) == "2000-01-01T12:00:00.000000"
    assert iso_time(58484.25 + 12.3454 / 86400)[:-3] == "2019-01-01T06:00:12.345"
    assert iso_time(1e9).startswith("9999-12-31")


@pytest.mark.parametrize(
    "name", ["<b>&amp;\"'", "]]>", "a\x00\x1b[31mb\x7f", "\ud800\ufffe\u202e", "Größe ☉", "\n\r\t"]
)
def test_strings_of_headers_do_no_harm(name: str) -> None:
    header = replace(HEADER, source_name="x")
    found = Detection(candidate=candidate(), probability=0.9, label="pulse")
    built = build(found, replace(ORIGIN, header=header), created=CREATED)
    # as it could be made by whoever checks less than we do
    told = built.model_copy(update={"source_name": name, "model": name})
    publisher = replace(PUBLISHER, observatory=name, contact=name)
    document = event_document(told, publisher)
    root = parsed(document)
    group = parameters(root).get("observation parameters", {})
    assert group.get("target_name", "") == "".join(c for c in name if c.isprintable())
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", document)


def test_importance_is_the_probability_and_a_name_needs_an_excess() -> None:
    def why(event: DetectionMessage) -> tuple[str | None, str | None]:
        found = parsed(event_document(event, PUBLISHER)).find("Why")
        assert found is not None
        return found.get("importance"), found.findtext("Name")

    assert why(known()) == ("0.998765", "FRB190101")
    assert why(known(dm_excess=-1.0)) == ("0.998765", message().id)
    assert why(known(known_source="B1919+21")) == ("0.998765", "B1919+21")
    assert why(message()) == ("0.998765", message().id)


def test_a_retraction_cites_the_event_in_its_role(tmp_path: Path) -> None:
    sink = VoeventSink(tmp_path, replace(PUBLISHER, role="observation"))
    sink.send(message())
    later = VoeventSink(tmp_path, replace(PUBLISHER, ivorn="ivo://org.example/other"))
    ivorn = later.retract(message().id, "a radar & no pulse")
    root = parsed((tmp_path / f"{message().id}.retraction.xml").read_bytes())
    cited = root.find("Citations/EventIVORN")
    assert cited is not None
    assert (cited.get("cite"), cited.text) == ("retraction", f"{IVORN}#{message().id}")
    assert root.get("ivorn") == ivorn != cited.text
    assert root.get("role") == "observation", "who acted on the event must hear of it"
    assert root.findtext("Why/Description") == "a radar & no pulse"


@pytest.mark.parametrize("identity", ["nothing", "../nothing", "", "."])
def test_what_was_not_published_cannot_be_retracted(tmp_path: Path, identity: str) -> None:
    with pytest.raises(InputError, match="event"):
        VoeventSink(tmp_path / "events", PUBLISHER).retract(identity, "why")


@pytest.mark.parametrize("event", [b"", b"<a", b"<a/>", b"\xff"])
def test_a_damaged_event_cannot_be_retracted(tmp_path: Path, event: bytes) -> None:
    (tmp_path / "a.xml").write_bytes(event)
    with pytest.raises(InputError, match="VOEvent"):
        VoeventSink(tmp_path, PUBLISHER).retract("a", "why")


def test_a_full_disk_is_told_and_it_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    sink = VoeventSink(tmp_path, PUBLISHER)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SinkError, match="the disk is full"):
            sink.send(message())
    assert list(tmp_path.iterdir()) == []
    sink.send(message())
    assert [path.name for path in tmp_path.iterdir()] == [f"{message().id}.xml"]


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ("?role=utility", "option role"),
        ("?role=observation", "option ivorn is missing"),
        (f"?role=observation&ivorn={IVORN}", "option author is missing"),
        ("?send=127.0.0.1:8098", "option ivorn is missing"),
        ("?ivorn=http://a.b/c", "not of the form ivo://"),
        ("?ivorn=ivo://a.b.c/d%23e", "not of the form ivo://"),
        (f"?{WHO}&send=somewhere", "option send is not HOST:PORT"),
        (f"?{WHO}&send=me:secret@host:99", "option send is not HOST:PORT"),
        ("?npol=0", "option npol is no number above 0"),
        ("?beam_rotation_angle=north", "option beam_rotation_angle is no angle"),
        ("?password=secret", "unknown option password"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause) as refused:
        open_sink(f"voevent:{tmp_path}{options}")
    assert "secret" not in str(refused.value)


def test_the_options_of_the_instrument_reach_the_document(tmp_path: Path) -> None:
    query = "&".join(f"{name}={value}" for name, value in INSTRUMENT.items())
    who = "contact=A. N. Astronomer&email=someone@example.org&observatory=ASKAP"
    with closing(open_sink(f"voevent:{tmp_path}?{WHO}&{who}&{query}")) as sink:
        sink.send(known())
    assert (tmp_path / f"{message().id}.xml").read_bytes() == GOLDEN


TRANSPORT = '<trn:Transport xmlns:trn="http://www.telescope-networks.org/xml/Transport/v1.1"'
ACK = f'{TRANSPORT} version="1.0" role="ack"><Origin>ivo://a/b</Origin></trn:Transport>'.encode()
NAK = ACK.replace(b'"ack"', b'"nak"').replace(
    b"<Origin>ivo://a/b</Origin>", b"<Meta><Result>too\xc2\x85 old</Result></Meta>"
)


class Broker:
    """Hears authors, and answers each with the next of some bytes; the last one for ever."""

    def __init__(self, server: socket.socket, answers: list[bytes]) -> None:
        self.heard: list[bytes] = []
        self._server, self._answers = server, answers

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                (length,) = struct.unpack("!I", stream.read(4))
                self.heard.append(stream.read(length))
                answer = self._answers[0]
                self._answers = self._answers[1:] or self._answers
                connection.sendall(answer)


def framed(answer: bytes) -> bytes:
    return struct.pack("!I", len(answer)) + answer


@contextmanager
def broker(*answers: bytes) -> Iterator[tuple[Broker, str]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = Broker(server, list(answers))
        thread = threading.Thread(target=ours.serve)
        thread.start()
        yield ours, f"{WHO}&send=127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(SOON_S)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def test_a_broker_hears_of_it(
    tmp_path: Path, metric_delta: type[MetricDelta], caplog: pytest.LogCaptureFixture
) -> None:
    errors = metric_delta("mlppa_sink_errors_total", sink="voevent")
    with broker(framed(ACK)) as (ours, options):
        with closing(open_sink(f"voevent:{tmp_path}?{options}")) as sink:
            sink.send(message())
            sink.send(message(injected=True))
            assert isinstance(sink, VoeventSink)
            sink.retract(message().id, "a radar")
        files = (f"{message().id}.xml", f"{message().id}.retraction.xml")
        assert ours.heard == [(tmp_path / name).read_bytes() for name in files]
    assert errors() == 0
    assert not caplog.records


def test_what_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric_delta: type[MetricDelta]
) -> None:
    monkeypatch.setattr(vtp, "PAUSES_S", (0.01, 0.01, 0.01))
    errors = metric_delta("mlppa_sink_errors_total", sink="voevent")
    with broker(b"", framed(b"no xml"), struct.pack("!I", 1 << 30), framed(ACK)) as (ours, options):
        with closing(open_sink(f"voevent:{tmp_path}?{options}")) as sink:
            sink.send(message())
            wait_for(lambda: len(ours.heard) == 4)
        assert len(set(ours.heard)) == 1
    assert errors() == 0


def test_a_refusal_is_told_and_not_tried_again(
    tmp_path: Path, metric_delta: type[MetricDelta], caplog: pytest.LogCaptureFixture
) -> None:
    errors = metric_delta("mlppa_sink_errors_total", sink="voevent")
    with (
        broker(framed(NAK), framed(ACK)) as (ours, options),
        closing(open_sink(f"voevent:{tmp_path}?{options}")) as sink,
    ):
        sink.send(message())
        wait_for(lambda: errors() == 1)
        assert len(ours.heard) == 1
        sink.send(message())
        wait_for(lambda: len(ours.heard) == 2)
    assert "refuses the document (too old)" in caplog.text
    assert "works again; it missed 1" in caplog.text


def test_nobody_waits_for_a_broker_that_is_not_there(
    tmp_path: Path, metric_delta: type[MetricDelta], caplog: pytest.LogCaptureFixture
) -> None:
    errors = metric_delta("mlppa_sink_errors_total", sink="voevent")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    begin = time.monotonic()
    with closing(open_sink(f"voevent:{tmp_path}?{WHO}&send=127.0.0.1:{port}")) as sink:
        sink.send(message())
        assert (tmp_path / f"{message().id}.xml").exists(), "the file is there at once"
    assert time.monotonic() - begin < 2
    assert errors() == 1
    assert "cannot be reached (Connection refused)" in caplog.text


def test_nobody_waits_for_a_broker_that_says_nothing(
    tmp_path: Path, metric_delta: type[MetricDelta], caplog: pytest.LogCaptureFixture
) -> None:
    dropped = metric_delta("mlppa_dropped_total", queue="voevent")
    with socket.create_server(("127.0.0.1", 0)) as server:
        options = f"{WHO}&send=127.0.0.1:{server.getsockname()[1]}"
        sink = open_sink(f"voevent:{tmp_path}?{options}")
        sink.send(message())
        connection, _ = server.accept()
        for number in range(256):
            sink.send(message(id=f"{message().id}-r{number}"))
        with pytest.raises(SinkError, match="256 wait already"):
            sink.send(message(id="one-more"))
        assert dropped() == 1
        begin = time.monotonic()
        sink.close()
        assert time.monotonic() - begin < 2
        connection.close()
    assert dropped() == 257
    assert "closed with 256 still waiting" in caplog.text
    assert "still busy" in caplog.text
    assert len(list(tmp_path.iterdir())) == 258, "all files are there"


def test_an_event_is_retracted_from_the_shell(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = VoeventSink(tmp_path, PUBLISHER)
    sink.send(message())
    ended = call("retract", message().id, "a radar", "--from", f"voevent:{tmp_path}")
    assert ended.code == 0
    assert ended.out.startswith("retracted by ivo://")
    assert (tmp_path / f"{message().id}.retraction.xml").exists()
    assert call("retract", "nothing", "a radar", "--from", f"voevent:{tmp_path}").code == 3
    assert call("retract", "nothing", "a radar", "--from", f"jsonl:{tmp_path}").code == 2
