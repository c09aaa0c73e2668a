import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.training.augment import DRAWS, center_crops, order, random_crops, step_seed, uniforms

SEEDS = st.integers(0, 2**32)


@settings(max_examples=20)
@given(SEEDS, st.integers(0, 500), st.integers(1, 500))
def test_order_is_a_permutation_that_seed_and_epoch_decide(seed, epoch, samples):
    first = order(seed, epoch, samples)
    assert np.array_equal(np.sort(first), np.arange(samples))
    assert np.array_equal(first, order(seed, epoch, samples))
    if samples > 20:
        assert not np.array_equal(first, order(seed, epoch + 1, samples))
        assert not np.array_equal(first, order(seed + 1, epoch, samples))


def test_numbers_are_frozen():
    """A change here would change every result: it needs a new field in the recipe."""
    assert order(1, 2, 8).tolist() == [4, 7, 1, 2, 6, 3, 0, 5]
    assert np.allclose(
        uniforms(1, 2, np.array([3]), 4)[0],
        [0.28605385060820643, 0.8498999536243774, 0.3192467717969889, 0.2524426844760014],
        atol=1e-12,
    )
    assert step_seed(1, 2, 3) == 2333283571946334064


def test_uniforms_are_uniform_and_uncorrelated():
    values = uniforms(0, 0, np.arange(20_000), DRAWS)
    assert abs(values.mean(axis=0) - 0.5).max() < 0.01
    assert abs(np.corrcoef(values.T) - np.eye(DRAWS)).max() < 0.03
    next_epoch = uniforms(0, 1, np.arange(20_000), DRAWS)
    assert abs(np.corrcoef(values[:, 0], next_epoch[:, 0])[0, 1]) < 0.03


@settings(max_examples=40)
@given(SEEDS, st.integers(1, 600), st.integers(1, 600), st.floats(0.01, 1), st.floats(0.2, 1))
def test_crops_lie_inside_their_image(seed, height, width, least, low):
    samples = np.arange(50)
    h, w = np.full(50, height), np.full(50, width)
    boxes = random_crops(uniforms(seed, 0, samples, DRAWS), h, w, (least, 1.0), (low, 1 / low))
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] > 0).all()
    assert (boxes[:, 0] + boxes[:, 2] <= height).all() and (boxes[:, 1] + boxes[:, 3] <= width).all()


def test_crops_have_the_areas_and_shapes_asked_for():
    n = 20_000
    h, w = np.full(n, 256), np.full(n, 320)
    boxes = random_crops(uniforms(0, 0, np.arange(n), DRAWS), h, w, (0.08, 0.5), (3 / 4, 4 / 3))
    area = boxes[:, 2] * boxes[:, 3] / (256 * 320)
    assert abs(area.mean() - 0.29) < 0.005 and area.min() > 0.075 and area.max() < 0.51
    aspect = np.log(boxes[:, 3] / boxes[:, 2])
    assert abs(aspect.mean()) < 0.01 and abs(np.quantile(aspect, 0.9) - 0.8 * np.log(4 / 3)) < 0.02


def test_what_never_fits_is_cropped_centrally():
    boxes = random_crops(np.zeros((1, DRAWS)), np.array([10]), np.array([1000]), (1.0, 1.0), (3 / 4, 4 / 3))
    assert boxes.tolist() == [[0, 493, 10, 13]]


def test_center_crops():
    assert center_crops(np.array([256, 100]), np.array([320, 50]), 0.875).tolist() == [
        [16, 48, 224, 224],
        [28, 3, 43, 43],
    ]
