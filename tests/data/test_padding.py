import itertools

import numpy as np
import pytest

from c3jax.data import padding


def lengths(n=300, seed=0):
    drawn = 60 * np.exp(0.7 * np.random.default_rng(seed).standard_normal(n))
    return np.ceil(drawn).astype(int)


def waste(lengths, sizes):
    """The fraction of slots that is padding if each length is padded on its own."""
    return 1 - sum(lengths) / sum(padding.fit(n, sizes) for n in lengths)


def test_the_sizes_chosen_waste_least_of_all_that_could_be():
    some = lengths(12)
    every = sorted({-(-n // 8) * 8 for n in some.tolist()})
    best = min(
        waste(some, (*rest, every[-1]))
        for rest in itertools.combinations(every[:-1], 2)
    )
    assert waste(some, padding.choose(some, 3)) == pytest.approx(best)


@pytest.mark.parametrize("count", [1, 2, 6, 1000])
def test_sizes_ascend_and_hold_every_length(count):
    sizes = padding.choose(lengths(), count)
    assert len(sizes) <= count and list(sizes) == sorted(set(sizes))
    assert all(padding.fit(n, sizes) >= n for n in lengths())


def test_a_few_sizes_keep_the_padding_of_skewed_lengths_below_a_quarter():
    seen, new = lengths(seed=0), np.minimum(lengths(seed=1), 512)
    sizes = padding.choose([*seen, new.max()], 6)
    assert waste(new, sizes) < 0.25
    assert waste(new, padding.ladder(512, 8)) < 0.25


def test_a_ladder_ends_at_the_limit_whatever_the_multiple():
    assert padding.ladder(14, 3) == (8, 14)
    assert padding.ladder(512, 4) == (152, 224, 344, 512)
    assert padding.ladder(6, 4) == (6,)


def test_a_length_beyond_the_largest_size_is_refused():
    with pytest.raises(ValueError, match="length 99 is beyond the largest size, 64"):
        padding.fit(99, (32, 64))
