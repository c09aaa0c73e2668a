import threading

import numpy as np
import pytest

from tests.training.betons import pictures, write_beton
from toolkit.errors import ToolkitError
from toolkit.imagefile.crops import CorruptSample, Decoder
from toolkit.imagefile.reader import Beton
from toolkit.study import Recipe
from toolkit.training.loader import AHEAD, Loader, Pool

RECIPE = Recipe(batch=20, resolution=24)


@pytest.fixture
def pool():
    pool = Pool(2)
    yield pool
    pool.close()


@pytest.fixture
def beton(tmp_path):
    return Beton.open(write_beton(tmp_path / "a.beton", *pictures(90, 3)))


def same(left, right):
    return all(np.array_equal(a, b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True))


def test_batches_are_the_same_for_any_number_of_workers_and_from_any_step(beton, pool):
    whole = list(Loader(beton, pool).train(RECIPE, 7, 3, 24))
    alone = Pool(1)
    assert same(whole, list(Loader(beton, alone).train(RECIPE, 7, 3, 24)))
    alone.close()
    assert same(whole[2:], list(Loader(beton, pool).train(RECIPE, 7, 3, 24, first=2)))
    assert [batch.step for batch in whole] == [0, 1, 2, 3]
    assert len(np.unique(np.concatenate([batch.samples for batch in whole]))) == 80


def test_images_are_decoded_into_the_memory_that_was_given_for_them(beton, pool):
    given = []

    def allocate(shape):
        given.append(np.full(shape, 7, np.uint8))
        return given[-1]

    loader = Loader(beton, pool, allocate=allocate)
    batches = [*loader.train(RECIPE, 7, 3, 24), *loader.evaluate(25, 24, 0.875)]
    assert all(np.shares_memory(batch.images, memory) for batch, memory in zip(batches, given, strict=True))
    assert same(batches[:4], list(Loader(beton, pool).train(RECIPE, 7, 3, 24)))


def test_each_sample_is_decoded_once(beton, pool, monkeypatch):
    picture, decoded = Decoder.picture, []

    def counted(self, beton, sample, *rest):
        decoded.append(sample)
        picture(self, beton, sample, *rest)

    monkeypatch.setattr(Decoder, "picture", counted)
    list(Loader(beton, pool).evaluate(45, 24, 1.0))
    assert sorted(decoded) == list(range(90))


def test_a_sample_is_augmented_alike_in_any_batch(beton, pool):
    by_sample = {}
    for batch_size in (20, 30):
        recipe = RECIPE.model_copy(update={"batch": batch_size})
        for batch in Loader(beton, pool).train(recipe, 7, 3, 24):
            for sample, image in zip(batch.samples.tolist(), batch.images, strict=True):
                assert np.array_equal(by_sample.setdefault(sample, image), image)


def test_a_flipped_picture_is_its_mirror_image(beton, pool):
    recipes = [RECIPE.model_copy(update={"flip": flip}) for flip in (0.0, 1.0)]
    plain, flipped = (next(Loader(beton, pool).train(recipe, 7, 3, 24)).images for recipe in recipes)
    assert np.abs(flipped[:, :, ::-1].astype(int) - plain).max() <= 1 and not np.array_equal(flipped, plain)


def test_seed_and_epoch_change_the_pictures(beton, pool):
    loader = Loader(beton, pool)
    first = next(loader.train(RECIPE, 0, 0, 24))
    for seed, epoch in ((1, 0), (0, 1)):
        assert not np.array_equal(first.samples, next(loader.train(RECIPE, seed, epoch, 24)).samples)


def test_evaluation_sees_every_sample_once_in_order(beton, pool):
    batches = list(Loader(beton, pool).evaluate(25, 24, 0.875))
    assert np.array_equal(np.concatenate([b.samples for b in batches]), np.arange(90))
    assert np.array_equal(np.concatenate([b.labels for b in batches]), beton.labels)
    assert batches[-1].images.shape == (15, 24, 24, 3)


def test_shares_of_an_evaluation_add_up(beton, pool):
    shares = [b.samples for i in range(4) for b in Loader(beton, pool).evaluate(7, 16, 1.0, (i, 4))]
    assert sorted(np.concatenate(shares).tolist()) == list(range(90))


def damaged(path, sample):
    beton = Beton.open(path)
    content = bytearray(path.read_bytes())
    start = int(beton.offsets[sample])
    content[start : start + int(beton.sizes[sample])] = bytes(int(beton.sizes[sample]))
    path.write_bytes(content)
    return Beton.open(path)


def test_damage_reaches_the_loop_with_the_samples_number(tmp_path, pool):
    beton = damaged(write_beton(tmp_path / "a.beton", *pictures(90, 3)), 41)
    batches = Loader(beton, pool).evaluate(20, 24, 1.0)
    assert len([next(batches), next(batches)]) == 2
    with pytest.raises(CorruptSample, match="sample 41 of"):
        next(batches)


def test_any_exception_of_a_thread_reaches_the_loop_with_the_samples_number(beton, pool, monkeypatch):
    picture = Decoder.picture

    def failing(self, beton, sample, *rest):
        if sample == 41:
            raise MemoryError("no room")
        picture(self, beton, sample, *rest)

    monkeypatch.setattr(Decoder, "picture", failing)
    batches = Loader(beton, pool, losable=1).evaluate(20, 24, 1.0)
    assert len([next(batches), next(batches)]) == 2
    with pytest.raises(ToolkitError, match=r"sample 41 of .* could not be loaded \(MemoryError: no room\)"):
        next(batches)


def test_damage_can_be_left_out_and_is_counted(tmp_path, pool):
    beton = damaged(write_beton(tmp_path / "a.beton", *pictures(90, 3)), 41)
    loader = Loader(beton, pool, losable=1)
    seen = np.concatenate([batch.samples for batch in loader.evaluate(20, 24, 1.0)])
    assert loader.skipped == {41} and np.array_equal(seen, np.delete(np.arange(90), 41))


def test_a_set_of_which_too_much_is_lost_is_no_set(tmp_path, pool):
    path = write_beton(tmp_path / "a.beton", *pictures(90, 3))
    for sample in (3, 41):
        beton = damaged(path, sample)
    for batches in (
        Loader(beton, pool, losable=1).evaluate(20, 24, 1.0),
        Loader(beton, pool, losable=1).train(RECIPE.model_copy(update={"batch": 90}), 0, 0, 24),
    ):
        with pytest.raises(ToolkitError, match=r"2 of 90 samples of .*a\.beton are corrupt, more than the 1 that"):
            list(batches)
    with pytest.raises(ToolkitError, match=r"1 of 90 samples .* more than the 0 that"):
        list(Loader(beton, pool, losable=0).evaluate(20, 24, 1.0))


def test_a_batch_larger_than_the_set(beton, pool):
    with pytest.raises(ToolkitError, match=r"a batch of 91 is larger than .*a\.beton \(90 samples\)"):
        Loader(beton, pool).train(RECIPE.model_copy(update={"batch": 91}), 0, 0, 24)


def test_no_more_than_a_few_batches_are_ahead(beton, pool, monkeypatch):
    begun = []
    loader = Loader(beton, pool)
    plan = loader._central
    monkeypatch.setattr(loader, "_central", lambda *args: (begun.append(1), plan(*args))[1])
    batches = loader.evaluate(5, 16, 1.0)
    next(batches)
    assert len(begun) == AHEAD + 1
    batches.close()
    assert threading.active_count() <= 4
