"""How devices are arranged, and whether they are those that there should be."""

import dataclasses

import jax
import numpy as np
import pytest

from c3jax.core import environment, sharding


@dataclasses.dataclass(frozen=True)
class Chip:
    """What a mesh asks of a device."""

    id: int
    slice_index: int
    process_index: int = 0
    platform: str = "tpu"
    device_kind: str = "made up"
    core_on_chip: int = 0

    @property
    def coords(self):
        return [self.id % 2, self.id // 2 % 2, 0]


def test_parts_of_data_are_within_a_slice_whatever_the_order_of_devices():
    chips = [Chip(n, slice_index=n // 4) for n in range(8)]
    for seed in range(3):
        mixed = [chips[n] for n in np.random.default_rng(seed).permutation(8)]
        for sizes in ((2, 4, 1), (4, 2, 1), (2, 2, 2), (8, 1, 1)):
            found = sharding.arranged(sizes, mixed)
            assert found.shape == sizes and {*found.flat} == {*chips}
            slices = np.vectorize(lambda chip: chip.slice_index)(found)
            assert (slices == np.sort(slices, 0)).all()
            assert (slices == slices[:, :1, :1]).all()


def test_a_slice_has_all_parameters():
    chips = [Chip(n, slice_index=n // 4) for n in range(8)]
    with pytest.raises(ValueError, match="data=1: it must be a multiple of the 2"):
        sharding.arranged((1, 8, 1), chips)


def test_processes_that_announce_slices_are_arranged_by_them(monkeypatch):
    monkeypatch.setenv("MEGASCALE_NUM_SLICES", "2")
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    chips = [Chip(n, 0, process_index=n // 2, platform="cpu") for n in range(8)]
    found = sharding.arranged((2, 4, 1), chips[::-1])
    processes = np.vectorize(lambda chip: chip.process_index)(found)
    assert [{*row.flat} for row in processes] == [{0, 1}, {2, 3}]


def test_devices_are_counted_and_tried():
    environment.check_devices()
    environment.check_devices(jax.device_count())
    with pytest.raises(ValueError, match="--expect_devices=99: JAX has .* look for a"):
        environment.check_devices(99)


def test_a_device_that_miscalculates_is_named(monkeypatch):
    monkeypatch.setattr(jax, "device_put", lambda x, _: x + (x == 6))
    with pytest.raises(ValueError, match="process 0 multiplies wrongly"):
        environment.check_devices()
