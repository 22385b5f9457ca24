"""Known sources, and the DM of the Galaxy."""

import os
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord

from mlppa.data import Candidate, Context, FilterbankHeader
from mlppa.errors import EnvironmentFault, InputError
from mlppa.known import (
    KnownSources,
    Sky,
    check_galactic,
    context,
    galactic,
    galactic_dm,
)
from mlppa.known.galactic import galactic_coordinates

#: The Crab pulsar, and the Vela pulsar.
CRAB = (83.6332, 22.0145)
VELA = (128.8361, -45.1764)

PLAIN = """\
name,RA,Dec,DM
B0531+21,05:34:31.97,+22:00:52.06,56.77
B0833-45,128.8361,-45.1764,67.97
near Crab,83.7,22.0,60.0
"""

PSRCAT = """\
#;NAME;PSRJ;RAJ;DECJ;DM;
;;;(hms);(dms);(cm^-3 pc);
1;B0531+21;J0534+2200;05:34:31.973;+22:00:52.06;56.77118;
2;J0002+6216;J0002+6216;00:02:58.17;+62:16:09.4;*;
3;B0833-45;J0835-4510;08:35:20.61149;-45:10:34.8751;67.97;
4;J1119-6127;J1119-6127;11:19:61;-61:27:49.5;707.4;
5;J0001-0012;J0001-0012;00:01:00;-00:12:30;12.5;
"""

HEADER = FilterbankHeader(
    nchans=64, fch1_mhz=1500, foff_mhz=-1, tsamp_s=1e-3, tstart_mjd=6e4, source_name="PSR B0531+21"
)
THERE = replace(HEADER, ra_deg=CRAB[0], dec_deg=CRAB[1])
CANDIDATE = Candidate(
    sample=1000, dm=56.8, dm_err=0.1, width_samples=3, snr=20, snr_zero_dm=1, octave=0
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "known.csv"


def read(table: Path, text: str) -> KnownSources:
    table.write_text(text)
    return KnownSources.read(table)


def test_a_source_in_the_beam_is_named(table: Path) -> None:
    known = read(table, PLAIN)
    assert known.names == ("B0531+21", "B0833-45", "near Crab")
    assert known.left_out == 0
    assert known.match(56.8, 0.1, *CRAB, 0.5) == "B0531+21"
    assert known.match(68.0, 0.1, *VELA, 0.5) == "B0833-45"
    assert known.match(68.0, 0.1, *CRAB, 0.5) is None
    assert known.match(68.0, 0.1, *CRAB, 180) == "B0833-45"


def test_the_nearest_in_dm_is_named(table: Path) -> None:
    known = read(table, PLAIN)
    assert known.match(58.0, 1.0, *CRAB, 0.5) == "B0531+21"
    assert known.match(59.0, 1.0, *CRAB, 0.5) == "near Crab"
    assert known.match(58.2, 0.1, *CRAB, 0.5) is None


def test_a_dm_agrees_within_the_tolerance_or_the_error(table: Path) -> None:
    known = read(table, "name,RA,Dec,DM\na,10,10,100\n")
    # 0.5 % and 0.5
    assert known.match(100.99, 0.0, 10, 10, 1) == "a"
    assert known.match(101.01, 0.0, 10, 10, 1) is None
    assert known.match(101.01, 0.33, 10, 10, 1) is None
    assert known.match(101.01, 0.34, 10, 10, 1) == "a"
    assert known.match(100.5, float("nan"), 10, 10, 1) == "a"
    assert known.match(float("nan"), 0.1, 10, 10, 1) is None


@pytest.mark.parametrize(
    ("source", "pointing", "apart"),
    [
        ((0.2, 0.0), (359.9, 0.0), 0.3),
        ((10.0, 89.9), (190.0, 89.9), 0.2),
        ((60.0, 60.0), (61.0, 60.0), 0.5),
    ],
)
def test_distances_are_those_on_the_sphere(
    table: Path, source: tuple[float, float], pointing: tuple[float, float], apart: float
) -> None:
    known = read(table, f"name,RA,Dec,DM\na,{source[0]},{source[1]},100\n")
    assert known.match(100, 0.1, *pointing, apart + 1e-4) == "a"
    assert known.match(100, 0.1, *pointing, apart - 1e-3) is None


def test_without_a_pointing_only_the_target_is_compared(table: Path) -> None:
    known = read(table, PSRCAT)
    for target in ("PSR B0531+21", "psrb0531+21", "J0534+2200", "b0531+21", "PSR_J0534+2200"):
        assert known.match(56.8, 0.1, None, None, 1, target=target) == "B0531+21"
    assert known.match(80, 0.1, None, None, 1, target="B0531+21") is None
    assert known.match(56.8, 0.1, None, None, 1, target="B0833-45") is None
    assert known.match(56.8, 0.1, None, None, 1) is None
    # with one, the name says nothing: telescopes point away from their targets
    assert known.match(56.8, 0.1, *VELA, 1, target="B0531+21") is None


def test_what_psrcat_prints(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    known = read(table, PSRCAT)
    assert known.names == ("B0531+21", "B0833-45", "J0001-0012")
    assert known.left_out == 2
    (record,) = caplog.records
    assert "line 4 (DM is not known)" in record.getMessage()
    assert "line 6 (19 minutes and 61 seconds" in record.getMessage()
    assert known.match(12.5, 0.1, 0.25, -0.2083, 0.01) == "J0001-0012"
    assert known.match(68, 0.1, *VELA, 0.01) == "B0833-45"


@pytest.mark.parametrize(
    "text",
    [
        "NAME\tRAJD\tDECJD\tDM\nB0531+21\t83.6332\t22.0145\t56.77\n",
        '"JNAME","RAJ","DECJ","RAJD","DECJD","DM"\nB0531+21,,,83.6332,22.0145,5.677e1\n',
        "\ufeff# mine\n\n#name, ra, dec, dm\n# north\nB0531+21, 05h34m31.97s, 22d00m52s, 56.77\n",
        "DM;DEC;RA;PSRJ\r\n56.77;22 00 52;05 34 31.97;B0531+21\r\n",
        "name,RAJ,DECJ,DM\nB0531+21,5.5755481,22,56.77\n",
    ],
)
def test_columns_and_separators(table: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    known = read(table, text)
    assert known.match(56.8, 0.1, *CRAB, 0.02) == "B0531+21"
    assert not caplog.records


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a,10,10,*", "DM is not known"),
        ("a,10,10", "DM is not known"),
        ("a,10,10,many", "DM is many"),
        ("a,10,10,nan", "DM is nan"),
        ("a,10,10,-1", "DM is -1"),
        ("a,*,10,5", "RA is not known"),
        ("a,25:00:00,10,5", "no place on the sky"),
        ("a,10,91,5", "no place on the sky"),
        ("a,-1,9,5", "no place on the sky"),
        ("a,inf,9,5", "no place on the sky"),
        ("a,here,9,5", "no angle"),
        (",10,10,5", "no name"),
        ('"a,10,10,5', "RA is not known"),
        ("a" * 200_000, "no name|RA is not known"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_with_its_number(
    table: Path, caplog: pytest.LogCaptureFixture, line: str, why: str
) -> None:
    known = read(table, f"name,RA,Dec,DM\n\n{line}\nb,10,10,5\n")
    assert (known.names, known.left_out) == (("b",), 1)
    assert len(caplog.records) == 1
    assert "left out: line 3 (" in caplog.text
    with pytest.raises(InputError, match=f"no line can be used: line 3 .*({why})"):
        read(table, f"name,RA,Dec,DM\n\n{line}\n")


def test_many_bad_lines_are_one_short_warning(
    table: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(table, PLAIN + "x,1,1,*\n" * 500).left_out == 500
    assert caplog.text.count("DM is not known") == 5
    assert "and 495 more" in caplog.text


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "names its columns"),
        (b"B0531+21,83,22,56\n", "names its columns"),
        (b"name,RA,Dec,DM\n", "no line below its head"),
        (b"name,RA,Dec\na,1,1\n", "no column DM"),
        (b"RA,Dec,DM\n1,1,1\n", "no column name"),
        (b"name,Dec,DM\na,1,1\n", "no column RA"),
        (bytes(range(256)) * 99, "names its columns"),
        (b"name,RA,Dec,DM\n" + b"a,1,1,1\n" * 1_100_000, "larger than 8 MiB"),
    ],
)
def test_a_table_of_no_use_is_refused(table: Path, content: bytes, cause: str) -> None:
    table.write_bytes(content)
    with pytest.raises(InputError, match=cause) as caught:
        KnownSources.read(table)
    assert caught.value.thing == str(table)
    assert caught.value.remedy


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(InputError, match="not a regular file"):
            KnownSources.read(path)
    with pytest.raises(InputError, match="No such file"):
        KnownSources.read(tmp_path / "none.csv")


def test_a_bad_new_table_leaves_the_old_one(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    known = read(table, PLAIN)
    table.write_text(PLAIN + "new,1,1,30\n")
    assert known.reread(table).names[-1] == "new"
    assert known.names[-1] == "near Crab"
    table.write_text("rubbish")
    assert known.reread(table) is known
    assert "3 sources read before are kept" in caplog.text
    table.unlink()
    assert known.reread(table) is known


def test_the_best_of_many_is_the_one_that_a_plain_loop_finds(table: Path) -> None:
    rng = np.random.default_rng(3)
    ra, dec, dm = rng.uniform(0, 20, 500), rng.uniform(-10, 10, 500), rng.uniform(5, 300, 500)
    lines = (f"s{i},{ra[i]},{dec[i]},{dm[i]}\n" for i in range(500))
    known = read(table, "name,RA,Dec,DM\n" + "".join(lines))
    places = SkyCoord(ra, dec, unit="deg")
    found = 0
    for _ in range(30):
        at, wanted = (rng.uniform(0, 20), rng.uniform(-10, 10)), rng.uniform(5, 300)
        apart = places.separation(SkyCoord(*at, unit="deg")).deg
        fits = [
            (abs(dm[i] - wanted), f"s{i}")
            for i in range(500)
            if apart[i] <= 3 and abs(dm[i] - wanted) <= max(1.5, 0.005 * dm[i] + 0.5)
        ]
        best = min(fits)[1] if fits else None
        found += bool(fits)
        assert known.match(wanted, 0.5, *at, 3) == best
    assert 5 < found < 30


def test_galactic_coordinates_are_those_of_astropy() -> None:
    rng = np.random.default_rng(1)
    for ra, dec in [CRAB, VELA, (0, 90), (0, -90), (192.859, 27.128), *rng.uniform(0, 90, (20, 2))]:
        there = SkyCoord(ra * 4 % 360, dec, unit="deg").galactic
        l_deg, b_deg = galactic_coordinates(ra * 4 % 360, dec)
        ours = SkyCoord(l_deg, b_deg, unit="deg", frame="galactic")
        assert ours.separation(there) < 0.001 * units.deg


#: What mwprop looks like from outside, habits included; the DM tells what it was asked.
STAND_IN = {
    "ne_input.py": "import numpy as np\nloadtxt = np.loadtxt\n",
    "config_nemod.py": (
        "from . import ne_input\n"
        "model = str(ne_input.loadtxt('params/which_model.inp', dtype=str))\n"
        "eval_NE2001, eval_NE2025 = model == 'NE2001', model == 'NE2025'\n"
        "ds_coarse, ds_fine = 0.1, 0.0025\n"
    ),
    "dmdsm.py": (
        "import numpy as np\n"
        "from .config_nemod import *\n"
        "def dmdsm_d2dm(l, b, d, ds_coarse, ds_fine, Nsmin, d2dm_only, do_analysis):\n"
        "    print('Warning: Void(s) intersected.')\n"
        "    with open(__file__ + '.calls', 'a') as calls:\n"
        "        calls.write('x')\n"
        "    return ' ', d, np.rad2deg(l) + (1000 if eval_NE2025 else 0)\n"
    ),
}


@pytest.fixture
def mwprop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for the package; its folder."""
    folder = tmp_path / "packages" / "mwprop" / "nemod"
    folder.mkdir(parents=True)
    for init in (folder, folder.parent):
        (init / "__init__.py").touch()
    for name, text in STAND_IN.items():
        (folder / name).write_text(text)
    path = os.pathsep.join([str(folder.parents[1]), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    galactic._dm.cache_clear()
    yield folder
    galactic._dm.cache_clear()


def test_the_model_is_asked_once_for_a_pointing(mwprop: Path) -> None:
    l_deg, _ = galactic_coordinates(*(round(x, 1) for x in CRAB))
    assert galactic_dm(*CRAB) == pytest.approx(l_deg, abs=1e-3)
    assert galactic_dm(CRAB[0] + 0.01, CRAB[1]) == galactic_dm(*CRAB, "ne2001")
    assert (mwprop / "dmdsm.py.calls").read_text() == "x"
    assert galactic_dm(*CRAB, "ne2025") == pytest.approx(1000 + l_deg, abs=1e-3)
    assert (mwprop / "dmdsm.py.calls").read_text() == "xx"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("ne_input.py", "raise ImportError('no scipy')", "ImportError: no scipy"),
        ("config_nemod.py", "eval_NE2001 = False", "did not take the model ne2001"),
        ("dmdsm.py", "def dmdsm_d2dm(*_, **__): return 0, 0, float('nan')", "it says nan"),
        ("dmdsm.py", "import os; os._exit(9)", "it says nothing"),
        ("dmdsm.py", "import time; time.sleep(30)", "no answer in 1 s"),
    ],
)
def test_a_model_that_fails_is_told_once(
    mwprop: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    text: str,
    why: str,
) -> None:
    (mwprop / name).write_text(text)
    monkeypatch.setattr(galactic, "PATIENCE_S", 1.0 if "sleep" in text else 20.0)
    assert galactic_dm(*CRAB) is None
    assert galactic_dm(*CRAB) is None
    assert [why in record.getMessage() for record in caplog.records] == [True]


def test_a_missing_package_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(galactic, "PACKAGES", ("numpy", "no_such_package"))
    with pytest.raises(EnvironmentFault, match=r"^.*no_such_package is not installed; pip install"):
        check_galactic()
    monkeypatch.setattr(galactic, "PACKAGES", ("numpy",))
    check_galactic()


@pytest.mark.skipif(find_spec("mwprop") is None, reason="mwprop is not installed")
def test_the_real_model_knows_the_galaxy() -> None:
    assert galactic_dm(266.4, -29.0) == pytest.approx(3901, abs=5)
    assert galactic_dm(*CRAB, "ne2025") == pytest.approx(166.1, abs=0.5)


def test_the_context_of_a_candidate(table: Path, mwprop: Path) -> None:
    sky = Sky(sources=read(table, PLAIN), radius_deg=0.5, galactic="ne2001")
    found = context(CANDIDATE, THERE, sky, galactic_dm(*CRAB))
    assert found.known_source == "B0531+21"
    assert found.dm_galactic == galactic_dm(*CRAB)
    assert found.dm_excess == pytest.approx(56.8 - galactic_coordinates(83.6, 22.0)[0], abs=1e-3)
    assert context(replace(CANDIDATE, dm=500.0), THERE, sky).known_source is None
    # without a pointing the target's name counts; the model is never asked: it takes seconds
    calls = (mwprop / "dmdsm.py.calls").read_text()
    assert context(CANDIDATE, HEADER, sky) == Context(known_source="B0531+21")
    assert (mwprop / "dmdsm.py.calls").read_text() == calls
    assert context(CANDIDATE, THERE, Sky()) == Context()


def test_thousands_of_sources_cost_well_under_a_millisecond(table: Path) -> None:
    import timeit

    lines = "".join(f"s{i},{i % 360},{i % 90},{i % 700}\n" for i in range(5000))
    known = read(table, "name,RA,Dec,DM\n" + lines)
    assert min(timeit.repeat(lambda: known.match(50, 0.1, *CRAB, 1), number=10, repeat=5)) < 0.05
