"""A comparison that takes seconds: two methods, two seeds, a team of one."""

from c3jax.configs import compare


def get_config(arg=None):
    c = compare.get_config(arg)
    with c.unlocked():
        c.name = "small"
        c.methods = {n: {"credit": {"name": n}} for n in ("c3", "magrpo")}
        c.seeds = (0, 1)
        c.budgets.update(evaluator_calls=60, generated_tokens=1300)
        c.base.protocol.name = "solo"
        c.base.policy.update(width=32, hidden=48, unroll=1)
        c.base.warm_start.update(steps=10, batch_size=8)
        c.base.train.update(steps=20, batch_size=4, checkpoint_every=1)
        c.base.evaluate.update(
            every=10, questions=6, samples=2, k=(1, 2), batch_size=6, trees=0
        )
    return c.lock()
