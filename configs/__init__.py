"""The pages that come with c3jax: experiments to run, or to begin one's own from.

A page is a file with `get_config()`. They lie in `configs/` and are the package
`c3jax.configs`, in a checkout through a link. One's own page may begin with theirs:

    from c3jax.configs import math

    def get_config():
        c = math.get_config()
        c.credit.name = "magrpo"
        return c
"""
