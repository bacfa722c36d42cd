import contextlib
import fractions

import pytest

from c3jax.core import types
from c3jax.reward import (
    algebra,
    bases,
    equality,
    forms,
    formulas,
    intervals,
    reader,
    residues,
    sampling,
    unevaluated,
)


def same(gold: str, said: str) -> bool:
    return equality.equal(reader.read(gold), reader.read(said))


def is_right(gold: str, said: str) -> bool:
    return algebra.equal(gold, said, types.EXACT)


@pytest.mark.parametrize(
    "text",
    [
        *("2 3", "x^2^3", "2^{3}^{4}", "(x", "x)", "x+", "1,2", "x!!", "*x", "--x"),
        *(r"\int x", r"\frac{1}", r"\foo", "x^*", "", "|x", "5€", r"\infty-\infty"),
        *(
            r"\log",
            r"\exp 2",
            r"\sin{x}^2",
            r"\max 1",
            *("|2|x|+1|", r"\sin" * 400 + "x", "9" * 5000),
            r"\sin x/2",
            r"\sin x(y+1)",
        ),
        *("(" * 99 + "x" + ")" * 99, "x = 1", r"2\frac{5}{3}", r"x\circ", "0.1.2"),
    ],
)
def test_a_text_that_is_not_read_whole_is_not_read(text):
    with pytest.raises(formulas.Unreadable):
        reader.read(text)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        (r"{1\over2}", r"\frac12"),
        (r"{5 \choose 2}x", r"\binom{5}{2}x"),
        (r"\sqrt[3]4", r"\sqrt[3]{4}"),
        ("x**2", "x^{2}"),
        (r"\exp(-x)", "e^{-x}"),
        ("exp(2)", r"\mathrm{e}^2"),
        (r"\log_28", r"\log_{2}{8}"),
        (r"\log_e x", r"\ln x"),
        ("log_2(3)", r"\log_2 3"),
        (r"\operatorname{arctan}2", r"\tan^{-1}(2)"),
        (r"\sin^2 x", r"(\sin x)^2"),
        (r"\left\lfloor\tfrac{n}{3}\right\rfloor", r"\lfloor n/3\rfloor"),
        (r"\lvert x\rvert", "|x|"),
        (r"\min\{a,b\}", r"\min(a, b)"),
        ("3/4x", r"\frac{3}{4}x"),
        ("a/bc", r"\frac{a}{bc}"),
        (r"2\frac13\pi", r"\frac{7}{3}\pi"),
        (r"\sin{20}^{\circ}", r"\sin(20°)"),
        (r"\log_2^2 x", r"(\log_2 x)^2"),
        ("2lg", "2gl"),
        (r"\cos 60^\circ x", r"\cos(\frac{\pi}{180}60x)"),
        ("x_{1}^2", "x_1^2"),
        (r"f^{\prime}(x)", "f'(x)"),
        (r"\text{R}_{\text{in}}", "R_{in}"),
        ("3+i4", "3+4i"),
    ],
)
def test_spellings_are_read_as_one_formula(text, other):
    assert same(text, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("R-r", "r-R"), ("ab", "AB"), (r"\gamma", r"\Gamma"), (r"\gamma", "0.5772")),
        *(
            ("x'", "x"),
            ("x_1", "x_2"),
            ("x_1", "x"),
            (r"\hat x", "x"),
            (r"\vec x", "x"),
        ),
        *(("I", "i"), ("E", "e"), ("N", "n"), (r"\epsilon", r"\varepsilon")),
        *((r"\text{no}", r"\text{on}"), ("no", r"\text{no}"), (r"\beta", r"\Beta")),
        *((r"\frac{dy}{dx}", r"\frac{y}{x}"), (r"\frac{\Delta y}{\Delta x}", "y/x")),
        *(("[x]+1", "x+1"), ("f(x)", "xf"), ("f(2x)", "2f(x)"), ("f(3)", "3f")),
        *(("f(x+1)", "f(x)+f"), ("f(g(x))", "g(f(x))"), ("y(0)", "0")),
        *((r"\phi(mn)", r"m\phi(n)"), (r"f^{-1}(x)", r"\frac{1}{f(x)}")),
    ],
)
def test_symbols_are_what_was_written(one, other):
    with contextlib.suppress(formulas.Unreadable):
        assert not same(one, other)


def test_a_function_that_is_not_known_is_one_at_equal_arguments():
    assert same("f(2x)+f(x)^2", "f(x)f(x)+f(x+x)")
    assert same(r"P(1+r)^2", r"(1+r)(1+r)P")


@pytest.mark.parametrize(
    ("number", "off"),
    [
        ("2^{1009}-1", "2^{1009}"),
        ("100!-1", "100!+1"),
        (r"\binom{2000}{1000}-1", r"\binom{2000}{1000}"),
        (r"\frac{2^{2021}-1}{3}", r"\frac{2^{2021}-2}{3}"),
        ("7^{300000}", "7^{300000}+1"),
        (r"\frac{1}{2004!}", r"\frac{1}{2005!}"),
        ("2^{1009}i", "2^{1009}i+1"),
        (r"2^{1009}\pi-1", r"2^{1009}\pi"),
        (r"\sqrt{2}+10^{-70}", r"\sqrt{2}"),
        (r"\sqrt{10^{140}+1}", r"10^{70}"),
        (r"\pi+10^{-300}", r"\pi"),
        (r"e^{\pi\sqrt{163}}", "640320^3+744"),
    ],
)
def test_numbers_of_any_size_are_told_apart(number, off):
    assert same(number, "0+" + number)
    assert not same(number, off)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\sqrt{7+4\sqrt3}", r"2+\sqrt3"),
        (r"\sqrt[3]{2+\sqrt5}+\sqrt[3]{2-\sqrt5}", "1"),
        (r"\cos\frac{\pi}{7}-\cos\frac{2\pi}{7}+\cos\frac{3\pi}{7}", r"\frac12"),
        (r"e^{i\pi/4}", r"\frac{\sqrt2}{2}+\frac{\sqrt2}{2}i"),
        (r"\cos 13^\circ", r"\sin 77^\circ"),
        (r"\log_2 3", r"\frac{\log 3}{\log 2}"),
        (r"\ln 8", r"3\ln 2"),
        (r"\lfloor\log_2 8\rfloor", "3"),
        (r"\sqrt[3]{-2}", r"-\sqrt[3]{2}"),
        ("i^{10}", "-1"),
        (r"|3+4i|", "5"),
        ("2^{98}", "4^{49}"),
        (r"\sin^2 1+\cos^2 1", "1"),
    ],
)
def test_equal_numbers_are_found_equal(one, other):
    assert same(one, other)


def test_a_number_without_a_value_equals_nothing():
    for text in ("1/0", r"\ln 0", "(-1)!", r"\arcsin 2", "0^{-1}"):
        assert not same(text, text)
    assert same(r"-\infty", r"- \infty") and not same(r"\infty", r"-\infty")


def test_the_separation_bound_holds_for_a_small_difference():
    near = reader.read(r"\sqrt{10^{6}+1}-10^3")
    bits = equality.separation(near)
    value = intervals.value(near, {}, 200)
    assert value.a > 2.0**-bits


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *((r"\lfloor n/3\rfloor", r"\lfloor n/4\rfloor"), ("|x-3|", "3-x")),
        *(("x+10", "|x+10|"), (r"\sqrt{(x-1000)^2}", "x-1000"), ("|n-10^5|", "10^5-n")),
        *(("|x-3|+|x-3.1|", "|2x-6.1|"), ("|x^2-101x+2550|", "x^2-101x+2550")),
        *(
            (r"\lfloor x/10^6\rfloor", "0"),
            (r"\lfloor 2x\rfloor", r"2\lfloor x\rfloor"),
        ),
        *((r"\lceil x\rceil", r"\lfloor x\rfloor+1"), ("(-1)^n", "(-1)^{n+1}")),
        *((r"\gcd(m,n)", "1"), (r"\min(a,b)", r"\max(a,b)"), (r"\ln|x|", r"\ln(-x)")),
        *((r"\sqrt{ab}", r"-\sqrt{a}\sqrt{b}"), (r"\arcsin(\sin x)", "x")),
        *(("x^{1000}", "x^{1002}"), ("2^n-1", "2^n"), ("(x^2)^y", "x^{2y}")),
        *((r"\sqrt{x}+10^{-400}", r"\sqrt{x}"), (r"\frac{|x|}{x}", "1")),
        (r"\sin^2 x", r"\sin x^2"),
    ],
)
def test_functions_that_differ_anywhere_are_told_apart(one, other):
    assert not same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("|x-3|", "|3-x|"), (r"\sqrt{x^2}", "|x|"), (r"\gcd(m,n)", r"\gcd(n,m)")),
        *((r"\min(a,b)", r"\frac{a+b-|a-b|}{2}"), (r"\frac{(n+1)!}{n!}", "n+1")),
        *((r"\binom{n}{k}", r"\frac{n!}{k!(n-k)!}"), (r"\cos(n\pi)", "(-1)^n")),
        *((r"\lceil x\rceil", r"-\lfloor -x\rfloor"), (r"\frac{x^2}{x}", "x")),
        *((r"\log_4 x^2", r"\log_2|x|"), ("2^{3x}", "8^x"), ("e^{x+y}", "e^xe^y")),
    ],
)
def test_one_function_is_one_in_any_spelling(one, other):
    assert same(one, other)


def test_points_lie_on_both_sides_of_zero_and_of_every_number():
    tree = reader.read("|x-40|+|y|")
    at = [point for point, _ in sampling.points(tree, tree)]
    xs = [point["x"] for point in at]
    assert min(xs) < -40 and max(xs) > 40 and 40 in xs
    assert any(0 < abs(x) < 1 for x in xs) and any(x.denominator == 2 for x in xs)
    assert {(p["x"] > 0, p["y"] > 0) for p in at} == {
        (a, b) for a in (True, False) for b in (True, False)
    }
    assert at == [point for point, _ in sampling.points(tree, tree)]


def test_primes_are_drawn_by_both_texts_and_have_a_root_of_minus_one():
    (first, _), (second, _) = (next(residues.primes(seed)) for seed in ("a", "b"))
    for prime in (first, second):
        assert 1 << 60 < prime < 1 << 61 and residues.is_prime(prime)
        assert residues.root_of_minus_one(prime) ** 2 % prime == prime - 1
    assert first != second
    assert not residues.is_prime(first * second) and not residues.is_prime(561)


def test_work_is_bounded_before_it_is_done():
    for text in ("x^{10^{18}}", "((x^{9999})^{9999})^{9999}", "300000!"):
        assert not residues.are_rational(reader.read(text))
    tree = reader.read("7^{300000}")
    assert same("7^{300000}", "49^{150000}")
    assert not forms.is_finished(
        tree, ("+", tree, ("n", fractions.Fraction(1))), "", ""
    )


RELATIONS = [
    *(("x+y=2", "2x+2y=4"), ("x+y=2", "y=2-x"), ("xy=1", r"y=\frac1x")),
    *(("V=IR", "I=V/R"), ("x^2=4", "(x-2)(x+2)=0"), ("y=2x+1", "x=(y-1)/2")),
    *(("a+b<c", "c-a-b>0"), ("a+b<c", "2a+2b<2c"), ("x>2", "0<x-2"), ("x=5", "x-5=0")),
    *((r"\sqrt{x}y=3", r"2y=\frac{6}{\sqrt{x}}"), (r"e^xy<1", r"2e^xy<2")),
    *((r"1<x+y\le 2", r"2\ge y+x>1"), (r"x\ne y", r"y \ne x")),
]
OTHERS = [
    *(("x+y=2", "(x+y-2)^2=0"), ("y=2x+1", "x(y-2x-1)=0"), ("x=y", "x^2=y^2")),
    *(("xy=0", "x=0"), ("y^2=4x", "y^2=-4x"), ("a+b<c", "a+b>c"), ("x=5", "2x=10")),
    *(("x=5", "x-2=3"), (r"a+b<c", r"a+b\le c"), ("x>2", "x-2<0"), ("x+y=2", "x+y>2")),
    *(("g(x+y)=g(x)+g(y)", "g(x+y)=g(x+y)"), ("x+y=2", "X+y=2"), ("x=y=z", "x=y")),
    *(
        ("y=2", r"y=\infty"),
        ("x=y", r"\int x=y"),
        (r"e^xy<1", r"e^xy>1"),
        (r"\sqrt{x}y=1", r"\sqrt{x}y=2"),
    ),
    ("y=2x", r"\sqrt{x}=\sqrt{x}"),
]


@pytest.mark.parametrize(("gold", "said"), RELATIONS)
def test_a_relation_in_another_arrangement_is_the_same(gold, said):
    assert algebra.relations(gold, said) and algebra.relations(gold, gold)


@pytest.mark.parametrize(("gold", "said"), OTHERS)
def test_another_relation_is_not_the_same(gold, said):
    assert not algebra.relations(gold, said)


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        *(("x^2+3x+2", "x(x+3)+2"), ("x", r"\sqrt[3]{x^3}"), ("-i", r"\frac{1}{i}")),
        *((r"3\pi", r"\frac{12\pi}{4}"), ("5i", "2i+3i"), (r"\ln 8", r"\ln(4+4)")),
    ],
)
def test_what_is_left_to_do_is_not_finished(gold, said):
    assert same(gold, said)
    assert not is_right(gold, said)


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        *((r"\frac{x+2}{7}", r"\frac17(x+2)"), ("e", r"\exp(1)"), ("n", "1n")),
        *(
            (r"\binom{100}{50}", r"\frac{100!}{(50!)^2}"),
            (r"\sqrt[3]{16}", r"2\sqrt[3]2"),
            (r"\frac{\sqrt5}{5}", r"\frac{5}{5\sqrt5}"),
        ),
        *((r"e^{i\pi/4}", r"\cos\frac{\pi}{4}+i\sin\frac{\pi}{4}"), ("ab+c", "c+ba")),
    ],
)
def test_another_finished_spelling_is_right(gold, said):
    assert is_right(gold, said)


def test_digits_of_another_base_may_leave_the_base_away_and_nothing_else():
    for said in ("1011_2", "(1011)_2", r"1011_{\text{two}}", r"\text{1011}_2", "1011"):
        assert bases.same("1011_2", said)
    for said in ("1011_3", "1101_2", "11", "1011_{foo}", "x_2"):
        assert bases.same("1011_2", said) is False
    assert bases.same("A3_{16}", "a3_{16}") and bases.same("11", "1011_2") is None


def test_what_sympy_fails_at_is_no_verdict_and_faults_of_ours_are_raised():
    def law(error):
        raise error

    assert unevaluated.carefully(law, "otherwise", RecursionError) == "otherwise"
    with pytest.raises(MemoryError):
        unevaluated.carefully(law, "otherwise", MemoryError)
    with pytest.raises(KeyError):  # a tree that there is not, in our own table
        unevaluated.carefully(unevaluated.expression, "otherwise", ("c", "nosuch"))
