"""The quality of the counter-based random words, by tests whose statistics have known laws."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from helpers import masks

SEEDS, UNITS, EXAMPLES, STEPS = 64, 128, 64, 12
# About 200 statistics are looked at; a sound generator leaves this range once in 10^4 such runs.
Z = stats.norm.isf(1e-4 / 200 / 2)


@pytest.fixture(scope="module")
def words():
    """uint32 words [steps, streams, seeds, units, examples] with consecutive steps, streams and seeds."""
    draw = tf.function(
        lambda step, stream: masks.bits(tf.range(SEEDS), stream, step, (UNITS, EXAMPLES)), jit_compile=True
    )
    return np.stack([[draw(tf.constant(t), tf.constant(s)).numpy() for s in range(2)] for t in range(STEPS)])


def z_of_mean(values, mean, sd):
    """Standard score of the mean of independent values."""
    return (np.mean(values) - mean) / (sd / np.sqrt(np.size(values)))


def correlation_z(a, b):
    """Standard score of the correlation of two independent uniform samples."""
    a, b = (np.asarray(v, float).ravel() for v in (a, b))
    return np.corrcoef(a, b)[0, 1] * np.sqrt(a.size)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.2, 0.5, 0.8, 0.99])
def test_keep_rate_and_variance(words, rate):
    """The share kept is 1 − rate, and scaled masks have mean 1 and variance rate / (1 − rate)."""
    kept = masks.keep(words, rate).numpy()
    assert abs(z_of_mean(kept, 1 - rate, np.sqrt(rate * (1 - rate)))) < Z
    scaled = masks.scaled(words[:2], rate).numpy().astype(float)
    assert set(np.unique(scaled)) == {0.0, float(np.float32(1) / (np.float32(1) - np.float32(rate)))}
    assert scaled.mean() == pytest.approx(1, abs=Z * np.sqrt(rate / (1 - rate) / scaled.size))


def test_every_bit_is_fair(words):
    """Each of the 32 bits is 1 half of the time, and no two of them are correlated."""
    sample = words[:2].ravel()
    bits = np.stack([(sample >> np.uint32(k)) & 1 for k in range(32)]).astype(float)
    assert np.abs((bits.mean(axis=1) - 0.5) * 2 * np.sqrt(sample.size)).max() < Z
    correlations = np.corrcoef(bits)[np.triu_indices(32, 1)] * np.sqrt(sample.size)
    assert np.abs(correlations).max() < Z


def test_uniform(words):
    """χ² on counts: values in 256 bins, by their highest and by their lowest byte, and pairs in 64 × 64."""
    sample = words.ravel()
    for byte in (sample >> np.uint32(24), sample & np.uint32(255)):
        assert stats.chisquare(np.bincount(byte, minlength=256)).pvalue > 1e-4
    pairs = (sample[:-1] >> np.uint32(26)) * 64 + (sample[1:] >> np.uint32(26))
    assert stats.chisquare(np.bincount(pairs[::2], minlength=4096)).pvalue > 1e-4


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_counts_are_binomial(words, rate):
    """χ² on the number of units kept per example and on the number of examples kept per unit."""
    kept = masks.keep(words, rate).numpy()
    for axis, size in ((-2, UNITS), (-1, EXAMPLES)):
        counts = kept.sum(axis=axis).ravel()
        expected = stats.binom.pmf(np.arange(size + 1), size, 1 - rate) * counts.size
        common = expected > 20
        seen = np.append(np.bincount(counts, minlength=size + 1)[common], (~common)[counts].sum())
        assert stats.chisquare(seen, np.append(expected[common], expected[~common].sum())).pvalue > 1e-4


@pytest.mark.parametrize("axis", range(5), ids=["step", "layer", "seed", "unit", "example"])
def test_no_correlation_between_neighbours(words, axis):
    """Words of one and the next step (serial), layer, seed (model), unit and example are uncorrelated."""
    moved = np.moveaxis(words, axis, 0)
    lags = [1] if axis == 1 else [1, 2, 3, 5, 8]
    for lag in lags:
        assert abs(correlation_z(moved[:-lag], moved[lag:])) < Z
        kept = moved >= 2**31
        assert abs(correlation_z(kept[:-lag], kept[lag:])) < Z


@pytest.mark.parametrize("axis", range(5), ids=["step", "layer", "seed", "unit", "example"])
def test_no_pair_of_masks_is_alike(words, axis):
    """Among all pairs of masks along an axis, the largest correlation is no larger than chance has it."""
    flat = np.moveaxis(words, axis, 0).reshape(words.shape[axis], -1)[:, : 2**15].astype(float)
    found = np.corrcoef(flat)[np.triu_indices(len(flat), 1)] * np.sqrt(flat.shape[1])
    assert np.abs(found).max() < stats.norm.isf(1e-4 / found.size / 2)
    assert stats.kstest(found, "norm").pvalue > 1e-4


def test_far_seeds_and_steps():
    """Seeds and steps that differ in one bit, or lie at the ends of their range, give unrelated masks."""
    seeds = np.array([0, 1, 2**16, 2**31, 2**32 - 1], np.uint32)
    found = [masks.bits(tf.constant(seeds), 0, step, (4096,)).numpy() for step in (0, 1, 2**16, 2**30)]
    flat = np.concatenate(found).astype(float)
    correlations = np.corrcoef(flat)[np.triu_indices(len(flat), 1)] * np.sqrt(flat.shape[1])
    assert np.abs(correlations).max() < Z


def test_the_tests_would_notice():
    """A plain multiplicative counter, the kind of generator to avoid, fails what the words pass."""
    poor = (np.arange(2**16, dtype=np.uint32) * np.uint32(0x9E3779B9)).reshape(256, 256)
    counts = (poor >= 2**31).sum(axis=0)
    assert counts.var() < 0.2 * 256 / 4
    assert abs(correlation_z(poor[:, :-1], poor[:, 1:])) > 10 * Z


def test_normal():
    """Box and Muller: the normal distribution, uncorrelated between neighbours and seeds."""
    x = masks.normal(tf.range(16), 3, 7, (64, 32)).numpy()
    assert stats.kstest(x.ravel(), "norm").pvalue > 1e-4
    assert abs(correlation_z(x[1:], x[:-1])) < Z and abs(correlation_z(x[..., 1:], x[..., :-1])) < Z
    assert abs(correlation_z(x[1:] ** 2, x[:-1] ** 2)) < Z


def test_same_place_same_word():
    """A word depends on its place only: not on other seeds beside it, nor on compilation."""
    alone = masks.bits(tf.constant(5), 1, 9, (8, 4)).numpy()
    beside = masks.bits(tf.constant([[4], [5]]), 1, 9, (8, 4)).numpy()[1, 0]
    compiled = tf.function(lambda: masks.bits(tf.constant(5), 1, 9, (8, 4)), jit_compile=True)().numpy()
    np.testing.assert_array_equal(alone, beside)
    np.testing.assert_array_equal(alone, compiled)
    across = masks.bits(tf.constant(5), 1, 9, (4, 8), transposed=True).numpy()
    np.testing.assert_array_equal(alone, across.T)
    np.testing.assert_array_equal(masks.normal(5, 1, 9, (8, 4)), masks.normal(5, 1, 9, (4, 8), transposed=True).numpy().T)
    assert masks.keep(alone, 0.0).numpy().all()
    low, high = masks.keep(alone, 0.2).numpy(), masks.keep(alone, 0.6).numpy()
    assert (low | ~high).all(), "what a low rate drops, a high rate drops"


def test_cosine():
    """Between 0 and 1 turn the series is the cosine, to a few roundings of a float32."""
    turns = (np.arange(2**16, dtype="float32") + 0.5) * 2.0**-16
    np.testing.assert_allclose(masks._cosine(tf.constant(turns)), np.cos(2 * np.pi * turns.astype(float)), atol=3e-7)
