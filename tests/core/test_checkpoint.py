import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3jax.core import checkpoint, files, sharding


def state(value: float) -> dict:
    return {"w": jnp.full((64, 32), value), "n": jnp.int32(value), "memory": ()}


def saved(directory, steps, **options):
    with checkpoint.Store(directory, **options) as store:
        for step in steps:
            store.save(step, state(step), {"step": step})
    return store


def restored(directory, step=None):
    with checkpoint.Store(directory) as store:
        return store.restore(jax.eval_shape(lambda: state(0)), step)


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    saved(tmp_path / "c", [1, 2])
    found, record = restored(tmp_path / "c")
    assert record == {"step": 2}
    assert jax.tree.structure(found) == jax.tree.structure(state(2))
    jax.tree.map(np.testing.assert_array_equal, found, state(2))
    assert restored(tmp_path / "c", 1)[1] == {"step": 1}


def on_mesh(**sizes) -> dict:
    """The state, by shape and by where a mesh of some sizes has it."""
    devices = jax.devices()[: math.prod(sizes.values())]
    mesh = sharding.make(
        **{"data": 1, "fsdp": 1, "tensor": 1, **sizes}, devices=devices
    )
    places = {
        "w": sharding.parameter(mesh, (64, 32), ("hidden", "width")),
        "n": sharding.replicated(mesh),
        "memory": (),
    }
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=place
        ),
        jax.eval_shape(lambda: state(0.5)),
        places,
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (dict(data=2, fsdp=2, tensor=2), dict(fsdp=2)),
        (dict(data=2, fsdp=2, tensor=2), dict(data=1)),
        (dict(data=1), dict(fsdp=4, tensor=2)),
    ],
)
def test_a_checkpoint_comes_back_on_another_number_of_devices(tmp_path, before, after):
    rng = np.random.default_rng(0)
    whole = state(3) | {"w": rng.normal(size=(64, 32)).astype(np.float32)}
    there = jax.tree.map(lambda x: x.sharding, on_mesh(**before))
    with checkpoint.Store(tmp_path / "c") as store:
        store.save(1, jax.device_put(whole, there), {"step": 1})
    target = on_mesh(**after)
    with checkpoint.Store(tmp_path / "c") as store:
        found, record = store.restore(target)
    assert record == {"step": 1}
    jax.tree.map(np.testing.assert_array_equal, found, whole)
    assert jax.tree.map(lambda x: x.sharding, found) == jax.tree.map(
        lambda x: x.sharding, target
    )


def test_arrays_and_record_may_change_as_soon_as_save_returns(tmp_path):
    step = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    with checkpoint.Store(tmp_path / "c") as store:
        now, record = state(0), {"n": 0}
        for index in range(5):
            store.save(index, now, record)
            now = step(step(now))
            record["n"] += 2
    for index in range(5):
        found, record = restored(tmp_path / "c", index)
        assert int(found["n"]) == record["n"] == 2 * index


def test_the_newest_steps_stay_and_those_that_are_kept(tmp_path):
    store = saved(tmp_path / "c", range(7), keep=lambda step: step % 3 == 0)
    assert store.steps() == [0, 3, 5, 6]
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["0", "3", "5", "6"]


def test_one_flipped_byte_of_any_file_is_noticed(tmp_path):
    saved(tmp_path / "c", [1])
    rng = np.random.default_rng(0)
    for path in sorted((tmp_path / "c" / "1").rglob("*")):
        if not path.is_file() or not path.stat().st_size:
            continue
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="is damaged"):
            restored(tmp_path / "c")
        path.write_bytes(whole)
    restored(tmp_path / "c")


def damage(directory, step):
    path = directory / str(step) / "record.json"
    path.write_bytes(path.read_bytes().replace(b"step", b"stop"))


def test_damage_is_an_error_that_says_how_to_go_on(tmp_path):
    directory = tmp_path / "c"
    saved(directory, [1, 2, 3])
    damage(directory, 3)
    damage(directory, 2)
    wanted = f"{directory}/3 is damaged: record.json .* The last good step is 1: remove"
    with pytest.raises(ValueError, match=wanted):
        restored(directory)
    for step in (2, 3):
        files.remove(directory / str(step))
    assert restored(directory)[1] == {"step": 1}
    damage(directory, 1)
    with pytest.raises(
        ValueError, match=f"No earlier step is whole: remove {tmp_path}"
    ):
        restored(directory)


def test_what_was_being_written_or_deleted_at_a_kill_is_not_a_step(tmp_path):
    store = saved(tmp_path / "c", [1, 2])
    (tmp_path / "c" / "2").rename(tmp_path / "c" / "2.unfinished")
    (tmp_path / "c" / "9.deleted").mkdir()
    assert store.steps() == [1]
    saved(tmp_path / "c", [2])
    assert restored(tmp_path / "c")[1] == {"step": 2}
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["1", "2"]


def test_a_step_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no checkpoint; train there first"):
        restored(tmp_path / "c")
    saved(tmp_path / "c", [1, 2])
    with pytest.raises(ValueError, match=r"has steps \[1, 2\], not 7"):
        restored(tmp_path / "c", 7)
