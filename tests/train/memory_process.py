"""A process that says what it will need, then trains a step; bytes said and had."""

from benchmarks import loading
from c3jax.collect import rollouts
from c3jax.core import metrics
from c3jax.learn import training, warm_start
from c3jax.train import admission, device_memory
from tests import support

# Arrays are most of it.
WIDE = dict(
    protocol__name="solo",
    warm_start__steps=0,
    train__batch_size=2,
    evaluate__samples=1,
    evaluate__k=(1,),
    evaluate__batch_size=2,
    evaluate__questions=2,
    policy__width=1536,
    policy__heads=12,
    policy__kv_heads=4,
    policy__head_dim=128,
    policy__hidden=4096,
)


def main() -> None:
    setup, watch = support.math_setup(**WIDE), metrics.Stopwatch()
    said = admission.estimate(setup, device_memory.training(setup)).total
    items = [setup.task.split("train")[n] for n in range(2)]
    state = training.initial_state(setup, warm_start.initial_params(setup))
    rollout = rollouts.sample(setup, state, 0, items, support.MadeUp(), watch)
    args = setup.estimator, setup.ancestors, rollout, state.memory
    advantages, memories = rollouts.credit(*args)
    args = rollout, advantages, state.params, None, watch
    batches = rollouts.batches(setup.objective, setup.mesh, *args)
    training.compiled_step(setup)(0, state, memories, rollout, batches)
    print(said, loading.resident("VmHWM"))


if __name__ == "__main__":
    main()
