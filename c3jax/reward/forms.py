"""Steps that an expression leaves to do: the guard against copying the question.

An answer of 2 + 3 in the box has not worked out 5. An answer may leave no kind of
step that the gold answer does not leave: where the gold answer is 2^{98}, 4^{49} will
do. Fractions, roots that do not come out, and multiples of both are numbers like any
other: 6/4, \\frac{1}{\\sqrt 2} and \\sqrt{12} are finished.
"""

import itertools
import math
import re

import sympy

from c3jax.reward import formulas, residues, unevaluated

_DIVISION = re.compile(
    r"\\frac\{\s*(\d+)\s*\}\{\s*(\d+)\s*\}|(?<![\d.])(\d+)\s*/\s*(\d+)(?![\d.])"
)


# What SymPy carries out here: no longer integers than these.
_MAX_BITS = 400_000
_MAX_DEGREE = 60


def is_finished(gold: tuple, said: tuple, gold_text: str, said_text: str) -> bool:
    """Whether one formula leaves no step that the other does not leave, too.

    Args:
        gold, said: trees of `formulas`.
        gold_text, said_text: the texts that were read; the reader carries out
            \\frac{12}{4}.
    """
    if gold == said:
        return True
    nodes = itertools.chain(formulas.nodes(gold), formulas.nodes(said))
    if max(map(residues.bits, nodes)) > _MAX_BITS:
        return False
    return unevaluated.carefully(_is_finished, False, gold, said, gold_text, said_text)


def same_numerators(gold: tuple, said: tuple) -> bool:
    """Whether two quotients in lowest terms have proportional numerators.

    So y = 1/x has the solutions of xy = 1, and I = V/R those of V = IR. Roots and
    functions count as unknowns.
    """
    gold, said = _rational(gold), _rational(said)
    if not residues.are_rational(gold, said):
        return False
    if max(map(residues.degree, (gold, said))) > _MAX_DEGREE:
        return False
    return unevaluated.carefully(_same_numerators, False, gold, said)


def _rational(tree: tuple) -> tuple:
    """A rational function with an unknown for each part that is none."""
    if residues.are_rational(tree):
        return tree
    if tree[0] in ("+", "*", "/"):
        return (tree[0], *map(_rational, tree[1:]))
    return ("x", str(tree))


def _same_numerators(gold: tuple, said: tuple) -> bool:
    tops = [
        sympy.fraction(sympy.cancel(unevaluated.expression(tree)))[0]
        for tree in (gold, said)
    ]
    ratio = sympy.cancel(tops[0] / tops[1]) if all(tops) else sympy.S.Zero
    return bool(ratio.is_number and ratio != 0)


def _is_finished(gold: tuple, said: tuple, gold_text: str, said_text: str) -> bool:
    gold, said = unevaluated.expression(gold), unevaluated.expression(said)
    left = _steps(said, said_text) - _steps(gold, gold_text)
    # The other way to write what e^(i pi / 4) leaves.
    if any(isinstance(node, sympy.exp) and node.has(sympy.I) for node in _nodes(gold)):
        left -= {"cos", "sin"}
    if left:
        return False
    # x^2 + 3x + 2 is what "factor x^2 + 3x + 2" begins with.
    return not _is_factored(gold) or _is_factored(said)


def _nodes(tree: sympy.Expr):
    return sympy.preorder_traversal(tree)


def _steps(tree: sympy.Expr, text: str) -> set[str]:
    """The kinds of steps that an expression leaves."""
    steps = set()
    # The reader carries out 12/4, so divisions are looked for in the text.
    for numbers in _DIVISION.findall(text):
        top, bottom = (int(n) for n in numbers if n)
        if bottom > 0 and top > 0 and top % bottom == 0:
            steps.add("division")

    # All other steps are operations of the tree.
    within = {}  # whether a node is part of a longer sum or product
    for node in _nodes(tree):
        for arg in node.args:
            within[arg] = type(node)
        if isinstance(node, sympy.Add | sympy.Mul) and within.get(node) is type(node):
            continue
        steps.update(_left(node))
    return steps


def _left(node: sympy.Basic) -> list[str]:
    """The steps that the operation at the top of an expression leaves."""
    if isinstance(node, sympy.Add):
        terms = [_value(term) for term in _flat(node, sympy.Add)]
        apart = sum(len(sympy.Add.make_args(term)) for term in terms)
        steps = ["sum"] * (len(sympy.Add.make_args(sympy.Add(*terms))) < apart)
        # In x(x + 3) + 2 powers of x are left to collect.
        products = [_flat(term, sympy.Mul) for term in _flat(node, sympy.Add)]
        return steps + ["product of sums"] * any(map(_mixes, products))
    if isinstance(node, sympy.Mul):
        return _left_by_product(node)
    if isinstance(node, sympy.Pow):
        return _left_by_power(*node.args)
    if isinstance(node, sympy.exp) and _value(node).has(sympy.E):
        return []  # e^1 is e
    if isinstance(node, sympy.binomial | sympy.factorial):
        return ["factorial"] * (not _value(node).has(type(node)))
    if isinstance(node, sympy.Function):
        return [type(node).__name__] * (not _value(node).has(type(node)))
    return []


def _left_by_product(node: sympy.Mul) -> list[str]:
    """The steps that a product leaves: numbers, roots and powers to merge, sums."""
    factors = _flat(node, sympy.Mul)
    over = [f for f in factors if not _is_reciprocal(f)]
    under = [part for f in factors if _is_reciprocal(f) for part in _denominator(f)]
    numbers = [
        [f for f in side if f.is_Rational and abs(f) != 1] for side in (over, under)
    ]
    steps = ["product"] * any(len(side) > 1 for side in numbers)
    # 5/(5 sqrt(5)) is no more than a fraction that is not reduced, as 6/4 is.
    root = any(f.is_number and not f.is_Rational and not f.is_Add for f in under)
    if all(numbers) and not root and (numbers[0][0] / numbers[1][0]).is_Integer:
        steps.append("division")
    for side in (over, under):
        others = [f for f in side if f.is_number and not f.is_Rational]
        roots = [_value(f) for f in others if not _counts(f)]
        sums = [f for f in roots if f.is_Add]
        if len(sums) > 1 or _merge([f for f in roots if not f.is_Add]):
            steps.append("product")
        powers = [f for f in side if f.is_Symbol or (f.is_Pow and f.base.is_Symbol)]
        whole = [f for f in powers if f.is_Symbol or f.exp.is_Integer]
        if _merge(whole):
            steps.append("product")
    whole = [f for f in numbers[0] if abs(f.p) != 1]
    if _sums(over) > 1 or (_sums(over) and whole):
        steps.append("product of sums")
    if any(f.is_Add for f in under):
        steps.append("division by a sum")
    return steps


def _left_by_power(base: sympy.Expr, exponent: sympy.Expr) -> list[str]:
    """The steps that a power or a root leaves."""
    if exponent == -1:
        if base.is_number and not base.is_real:
            return ["division by i"]
        return ["division by a sum"] * base.is_Add
    if not exponent.is_number:
        return []
    if _counts(base):
        return []
    if base.is_number:
        if base.is_Add and exponent.is_Integer:
            return ["power"]
        if base.is_Add:  # sqrt(7 + 4 sqrt(3)) is 2 + sqrt(3)
            return ["root of a sum"]
        if not exponent.is_Rational:
            return ["power"]
        value = sympy.Pow(_value(base), _value(exponent))
        return ["power"] * (
            not value.is_Pow and not (value.is_Mul and not exponent.is_Integer)
        )
    if base.is_Pow and base.exp.is_Integer and not exponent.is_Integer:
        common = exponent.is_Rational and math.gcd(exponent.q, int(base.exp)) > 1
        return ["root of a power"] * common
    if exponent.is_Integer and not base.is_Symbol:
        if base.is_Add:
            return ["product of sums"]
        return ["power"] * (base.is_Mul or base.is_Pow)
    return []


def _flat(node: sympy.Expr, kind: type) -> list[sympy.Expr]:
    """The terms of a sum of sums, the factors of a product of products."""
    if not isinstance(node, kind):
        return [node]
    return [part for arg in node.args for part in _flat(arg, kind)]


def _is_reciprocal(factor: sympy.Expr) -> bool:
    return factor.is_Pow and factor.exp.is_number and factor.exp.is_negative


def _denominator(factor: sympy.Pow) -> list[sympy.Expr]:
    parts = _flat(factor.base, sympy.Mul)
    return parts if factor.exp == -1 else [sympy.Pow(p, -factor.exp) for p in parts]


def _merge(factors: list[sympy.Expr]) -> bool:
    """Whether a product of these has fewer factors: sqrt(2) sqrt(3), x x^2."""
    product = sympy.Mul(*factors)
    left = [f for f in sympy.Mul.make_args(product) if not f.is_Rational]
    return len(factors) > 1 and len(left) < len(factors)


def _mixes(factors: list[sympy.Expr]) -> bool:
    """Whether a sum is multiplied by a power of one of its own unknowns."""
    bases = [f.base if f.is_Pow else f for f in factors]
    own = {b for b in bases if b.is_Symbol}
    return any(b.is_Add and b.free_symbols & own for b in bases)


def _counts(factor: sympy.Expr) -> bool:
    """Whether it is a factorial, a binomial, or a power of one, not worked out."""
    base = factor.base if factor.is_Pow else factor
    return isinstance(base, sympy.factorial | sympy.binomial)


def _sums(factors: list[sympy.Expr]) -> int:
    """How many factors are sums with unknowns, or whole powers of them."""
    bases = [f.base if f.is_Pow and f.exp.is_Integer else f for f in factors]
    return sum(b.is_Add and not b.is_number for b in bases)


def _is_factored(tree: sympy.Expr) -> bool:
    """Whether it is a product of a sum with unknowns and something else."""
    factors = [f for f in _flat(tree, sympy.Mul) if not _is_reciprocal(f)]
    others = [
        f for f in factors if not (f.is_Rational and (abs(f) == 1 or abs(f.p) == 1))
    ]
    if len(others) == 1:
        return others[0].is_Pow and others[0].exp.is_Integer and _sums(others) == 1
    return _sums(others) >= 1


def _value(tree: sympy.Expr) -> sympy.Expr:
    """The expression with everything carried out that SymPy does by itself."""
    return tree.doit()
