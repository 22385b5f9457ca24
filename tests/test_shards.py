"""Sets of images on disk: as they were searched, split by sky, and refused when damaged."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mlppa.dedisperse.engine import Engine
from mlppa.errors import FormatError
from mlppa.training.examples import FACTS, Examples, join, random_examples
from mlppa.training.shards import MANIFEST, Dataset, make_dataset, read_shard
from mlppa.training.skies import Draw
from mlppa.training.supply import from_disk

from .made import silent

DRAW = Draw(seed=4, number=0, res=32, threshold=7.0)
PER_SHARD = 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("set"), DRAW, 90, per_shard=PER_SHARD)


@pytest.fixture(scope="module")
def again(made: Dataset) -> Examples:
    """The same skies, searched here."""
    draws = (replace(DRAW, number=n) for n in range(PER_SHARD * len(made.shards)))
    return join(random_examples(draw, Engine(1)) for draw in draws)


def test_a_set_holds_what_its_skies_give(made: Dataset, again: Examples) -> None:
    read = join(made)
    assert made.images == len(read.facts) == 90
    np.testing.assert_array_equal(read.images, again.images[:90])
    np.testing.assert_array_equal(read.features, again.features[:90])
    for name in FACTS.names or ():
        np.testing.assert_array_equal(read.facts[name], again.facts[name][:90])
    assert sum(shard.pulses for shard in made.shards) == read.labels.sum()
    assert 0 < read.labels.sum() < 90


def test_no_sky_is_on_both_sides(made: Dataset) -> None:
    supply, checked = from_disk(made, 32, silent)
    shown = join(supply.pieces(np.random.default_rng(0)))
    assert set(checked.skies)
    assert set(shown.skies)
    assert not set(checked.skies) & set(shown.skies)
    assert {replace(DRAW, number=int(n)).validates for n in checked.skies} == {True}


def test_shards_that_are_there_stay(made: Dataset) -> None:
    before = [(made.folder / shard.name).stat().st_mtime_ns for shard in made.shards]
    told: list[tuple[object, ...]] = []
    more = make_dataset(
        made.folder, DRAW, 100, tell=lambda *now: told.append(now), per_shard=PER_SHARD
    )
    after = [(made.folder / shard.name).stat().st_mtime_ns for shard in made.shards]
    assert before == after
    assert more.images == 100
    assert told[-1] == ("searching skies", 100, 100)
    files = {path.name for path in made.folder.glob("*.h5")}
    assert files == {shard.name for shard in more.shards}


def test_a_shard_that_is_damaged_is_made_again(made: Dataset, tmp_path: Path) -> None:
    copy = tmp_path / "set"
    shutil.copytree(made.folder, copy)
    before = {path.name: path.read_bytes() for path in copy.glob("*.h5")}
    first, second = sorted(before)[:2]
    with h5py.File(copy / first) as file:
        # somewhere among the pixels, which would still be numbers
        at = file["images"].id.get_chunk_info(0).byte_offset + 100
    with (copy / first).open("r+b") as damaged:
        damaged.seek(at)
        damaged.write(b"damage")
    (copy / second).write_bytes(before[second][:1000])
    with pytest.raises(FormatError, match="not a shard of images"):
        read_shard(copy / first)
    again = make_dataset(copy, DRAW, made.images, per_shard=PER_SHARD)
    np.testing.assert_array_equal(join(again).images, join(made).images)


def test_another_set_is_not_mixed_in(made: Dataset) -> None:
    with pytest.raises(FormatError, match="another seed, size or kind"):
        make_dataset(made.folder, replace(DRAW, seed=5), 10, per_shard=PER_SHARD)


def test_the_middle_of_larger_images_is_what_a_smaller_cut_gives(
    made: Dataset, again: Examples
) -> None:
    larger = random_examples(replace(DRAW, res=64), Engine(1))
    first = again.take(again.skies == 0)
    # larger images let candidates wait longer, so that some are others
    here, there = np.nonzero(first.facts["sample"][:, None] == larger.facts["sample"])
    assert len(here) > 0.8 * len(first.facts)
    np.testing.assert_array_equal(larger.images[there, 16:48, 16:48], first.images[here])
    np.testing.assert_array_equal(larger.features[there], first.features[here])


def test_what_is_damaged_is_refused(made: Dataset, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        Dataset.load(tmp_path)
    for text in ("", "[]", '{"schema": "other"}'):
        (tmp_path / MANIFEST).write_text(text)
        with pytest.raises(FormatError):
            Dataset.load(tmp_path)
    facts = json.loads((made.folder / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(facts))
    with pytest.raises(FormatError, match="not a shard"):
        next(iter(Dataset.load(tmp_path)))
    (tmp_path / made.shards[0].name).write_bytes(b"no HDF5")
    with pytest.raises(FormatError, match="not a shard"):
        read_shard(tmp_path / made.shards[0].name)
    read_shard(made.folder / made.shards[1].name)
    (tmp_path / made.shards[0].name).write_bytes((made.folder / made.shards[1].name).read_bytes())
    with pytest.raises(FormatError, match="its sha256 is"):
        next(iter(Dataset.load(tmp_path)))
    with pytest.raises(FormatError, match="32 pixels, 64 are wanted"):
        made.read(made.shards[0], 64)
