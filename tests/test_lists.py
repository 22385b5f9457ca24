"""Lists of other searches: every format, and every way in which a line can be wrong."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlppa.data import Listed
from mlppa.dispersion import K_DM
from mlppa.errors import FormatError, InputError
from mlppa.formats.lists import K_HEIMDALL, K_TRANSIENTX, Flaw, ListReader, read_list

ROW = "cfbf00001\t4\t60000.250119881478895\t1010.40\t2.05\t20.8\t1500\t1108\tA_04.png\t04\tA.fil"


def read(path: Path, text: str) -> tuple[list[Listed], list[Flaw]]:
    path.write_bytes(text.encode())
    found = list(read_list(path))
    return (
        [one for one in found if isinstance(one, Listed)],
        [one for one in found if isinstance(one, Flaw)],
    )


def test_a_row_of_transientx(tmp_path: Path) -> None:
    (row,), flaws = read(tmp_path / "a.cands", ROW + "\n")
    assert not flaws
    assert row.dm == pytest.approx(1010.40 * K_TRANSIENTX / K_DM)
    assert row == Listed(
        dm=row.dm,
        width_ms=2.05,
        snr=20.8,
        mjd=60000.250119881478895,
        f_lo_mhz=1108,
        f_hi_mhz=1500,
        beam="cfbf00001",
        file="A.fil",
        plot="A_04.png",
        path=str(tmp_path / "a.cands"),
        line=1,
    )
    # its constant is larger, so a delay is less DM there than here
    assert row.dm - 1010.40 == pytest.approx(1010.40 * 1.374e-4, rel=1e-3)


@pytest.mark.parametrize("name", ["a.cands", "a_replot.cands", "a.txt"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("gap", ["\t", " ", "  \t"])
def test_tabs_or_blanks_comments_and_any_end_of_line(
    name: str, ends: str, gap: str, tmp_path: Path
) -> None:
    lines = ["# beam number mjd", ROW.replace("\t", gap), "", "#" + ROW, ROW.replace("2.05", "2.1")]
    rows, flaws = read(tmp_path / name, ends.join(lines))
    assert [row.line for row in rows] == [2, 5]
    assert [row.width_ms for row in rows] == [2.05, 2.1]
    assert not flaws


def test_a_path_with_blanks_stands_between_tabs(tmp_path: Path) -> None:
    (row,), _ = read(tmp_path / "a.cands", ROW.replace("A.fil", "my data/A 1.fil"))
    assert row.file == "my data/A 1.fil"


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        (ROW.rsplit("\t", 1)[0], "10 columns instead of 11"),
        (ROW + "\tmore", "12 columns instead of 11"),
        (ROW.replace("1010.40", "what"), "the DM is 'what', no number"),
        (ROW.replace("1010.40", "nan"), "the DM is nan"),
        (ROW.replace("1010.40", "-3"), "the DM is -3, not between 0 and 100000"),
        (ROW.replace("2.05", "1e9"), "the width is 1e9, not between 0 and 10000"),
        (ROW.replace("20.8", "high"), "the S/N is 'high', no number"),
        (ROW.replace("60000.250119881478895", "inf"), "the MJD is inf"),
        (ROW.replace("60000.250119881478895", "1e99"), "the MJD is 1e99, not between"),
        ("x" * 20_000, "a line of more than 10000 characters"),
        ("\0\0\0\xff", "1 columns instead of 11"),
    ],
)
def test_a_wrong_line_is_named_and_the_others_are_read(
    wrong: str, cause: str, tmp_path: Path
) -> None:
    rows, flaws = read(tmp_path / "a.cands", f"{ROW}\n{wrong}\n{ROW}\n")
    assert [row.line for row in rows] == [1, 3]
    (flaw,) = flaws
    assert flaw.line == 2
    assert flaw.cause.startswith(cause)
    assert not flaw.kept
    assert str(flaw).startswith(f"{tmp_path / 'a.cands'}:2: ")


def test_a_width_of_zero_is_told_and_used(tmp_path: Path) -> None:
    (row,), (flaw,) = read(tmp_path / "a.cands", ROW.replace("2.05", "0.00"))
    assert row.width_ms == 0
    assert flaw.kept
    assert flaw.cause == "a width of 0 is taken for one sample"


def test_heimdall(tmp_path: Path) -> None:
    good = "15.715\t1602\t2.02825\t1\t494\t475.388\t1\t1600\t1604"
    endless = "inf\t517\t0.654764\t0\t1039\t999.854\t1\t516\t518"
    wrapped = "6.1\t18446744073709551612\t2.3e16\t2\t9\t10.0\t1\t0\t4"
    half = "6.1\t4294967290\t5439000.1\t2\t9\t10.0\t1\t0\t4"
    text = "\n".join([good, endless, wrapped, half])
    (first, second, third, fourth), flaws = read(tmp_path / "a.cand", text)
    assert first.dm == pytest.approx(475.388 * K_HEIMDALL / K_DM)
    assert (first.width_samples, first.snr, first.time_s) == (2, 15.715, 2.02825)
    assert (second.snr, second.width_samples) == (None, 1)
    assert (third.sample, third.time_s) == (-4, None)
    assert (fourth.sample, fourth.time_s) == (-6, None)
    assert [flaw.line for flaw in flaws] == [2, 3, 4]
    assert all(flaw.kept for flaw in flaws)
    assert "wrapped" in flaws[1].cause


def test_presto(tmp_path: Path) -> None:
    head = "# DM      Sigma      Time (s)     Sample    Downfact\n"
    line = " 475.39   15.71      2.028250       1602       2\n"
    for name in ("a.singlepulse", "a.txt"):
        (row,), flaws = read(tmp_path / name, head + line)
        assert not flaws
        assert (row.time_s, row.sample, row.width_samples, row.snr) == (2.02825, 1602, 2, 15.71)
        assert row.dm == pytest.approx(475.39 * K_TRANSIENTX / K_DM)


def test_a_csv_names_its_columns(tmp_path: Path) -> None:
    ours = (
        "mjd,dm,width_ms,snr,f_lo_mhz,f_hi_mhz,beam,file\n60000.5,56.7,2.5,9.1,700,1800,3,b.fil\n"
    )
    (row,), flaws = read(tmp_path / "a.csv", ours)
    assert not flaws
    assert (row.mjd, row.dm, row.width_ms, row.f_lo_mhz, row.beam, row.line) == (
        *(60000.5, 56.7, 2.5, 700.0, "3", 2),
    )
    # as your and FETCH write it: the width is the logarithm of samples
    theirs = "file,snr,stime,width,dm,label,chan_mask_path,num_files\na.fil,8.5,2.03,3,475.3,0,,1\n"
    (row,), flaws = read(tmp_path / "b.csv", theirs)
    assert not flaws
    assert (row.time_s, row.width_samples, row.file) == (2.03, 8, "a.fil")
    rows, flaws = read(tmp_path / "c.csv", ours + "60000.5,56.7\n,1,2,3,4,5,6,7\n")
    assert len(rows) == 1
    assert [flaw.line for flaw in flaws] == [3, 4]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.cands", "nothing of the kind\n"),
        ("a.txt", "one two three\n"),
        ("a.csv", "snr,width\n1,2\n"),
        ("a.cand", "1 2 3\n"),
    ],
)
def test_a_file_that_is_no_list_is_refused(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no line is a candidate"):
        read(tmp_path / name, text)


def test_an_empty_list_has_no_candidates_and_none_cannot_be_read(tmp_path: Path) -> None:
    assert read(tmp_path / "a.cands", "") == ([], [])
    with pytest.raises(InputError, match="cannot be read"):
        list(read_list(tmp_path / "nowhere.cands"))


@given(
    st.lists(st.text(max_size=80), max_size=4),
    st.sampled_from(["a.cands", "a.cand", "a.singlepulse", "a.csv"]),
)
@example(['1,2"\r"3'], "a.csv")
def test_no_text_breaks_the_reader(lines: list[str], name: str) -> None:
    reader = ListReader(Path(name))
    heading = ["mjd,dm,snr,width"] if name == "a.csv" else []
    for line in [*heading, *lines]:
        found = reader.read(line)
        assert found is None or isinstance(found, Listed | Flaw | tuple)


@pytest.mark.shared
def test_real_lists_of_three_searches_mean_the_same_pulse(shared_data: Path) -> None:
    folder = shared_data / "candidates"
    names = (
        *("transientx/FRB20180417A_askap_beam28.cands", "FRB180417_b28.cand"),
        "FRB180417_b28_DM475.39.singlepulse",
    )
    for name in names:
        rows = [row for row in read_list(folder / name) if isinstance(row, Listed)]
        best = max(rows, key=lambda row: row.snr or 0)
        assert best.dm == pytest.approx(475.2, abs=0.5), name
    assert len([*read_list(folder / "transientx/B.cands")]) == 25
