"""Low-rank changes to weights, and the axes of their two products."""

from typing import NamedTuple


class Adapters(NamedTuple):
    """Low-rank changes to some weights, trained in place of the weights.

    A weight W of a matrix product becomes W + alpha / rank * A B, where A maps to
    `rank` numbers and B, zero at first, from them (LoRA, arXiv:2106.09685).

    Attributes:
        rank: numbers between A and B.
        alpha: scale of the change.
        targets: the weights that have one, names of `decoder.PRODUCTS`.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]


def axes(product: str) -> tuple[str, str, str, str]:
    """The axes of a product's input, of A and B with rank r, and of its result.

    Args:
        product: an einsum of an input and a weight, such as "td,df->tf".
    """
    x, weight, result = product.replace("->", ",").split(",")
    summed = "".join(axis for axis in weight if axis in x)
    return x, f"{summed}r", f"r{weight.removeprefix(summed)}", result
