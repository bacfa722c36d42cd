"""How answers are taken apart: options, units, number words, lists, names, places."""

from fractions import Fraction

import pytest

from c3jax.core import types
from c3jax.reward import algebra, choices, english, matching, math, reading, units


def is_right(gold: str, said: str, **rules) -> bool:
    """Judged in this process, as a worker judges it."""
    return matching.same(gold, said, types.Rules(**rules), algebra)


RIGHT = {
    "a power of ten": [
        ("1.2e-3", "0.0012"),
        ("1.2e-3", r"1.2 \times 10^{-3}"),
        ("6.02e23", r"6.02 \cdot 10^{23}"),
        ("1000000", "1E+06"),
    ],
    "a unit of another size": [
        (r"5\text{ km}", r"5000\text{ m}"),
        (r"90\text{ km/h}", r"25\text{ m/s}"),
        (r"25\text{ cents}", r"\$0.25"),
        (r"2\text{ m}^2", r"20000\text{ cm}^2"),
        (r"3.5\text{ hours}", "3 hours 30 minutes"),
        (r"60^\circ", r"\frac{\pi}{3}"),
        ("20", r"20^\circ\text{C}"),
        ("0.5 mol/L", r"0.5\text{ M}"),
        ("5", "5 m/s"),
        ("7200000 J", "2 kWh"),
        (r"\$1{,}200", "1200"),
    ],
    "a number in words": [
        ("5", "five"),
        ("21", "twenty-one"),
        ("2.5", "two and a half"),
        (r"2.5\text{ million}", "2500000"),
        ("5.5", r"5\text{ and a half}"),
        ("24", "2 dozen"),
        (r"\frac{8}{13}", "eight thirteenths"),
        ("17", r"17\text{ ordered pairs}"),
        ("17", r"17\text{ positive integers}"),
    ],
    "a list": [
        ("1,2,3", "1, 2, and 3"),
        ("1,2", "1 and 2"),
        ("100, 200", "200, 100"),
        ("12, 144", "12,144"),
        (r"3\pm\sqrt2", r"3-\sqrt2, 3+\sqrt2"),
        ("(2,0), (-2,0)", r"(\pm 2, 0)"),
        (r"\{2, -2\}", r"\{\pm 2\}"),
        ("1, -1, 2, -2", r"\pm 1, \pm 2"),
    ],
    "a set or a point": [
        ("(1,2)", r"\langle 1,2 \rangle"),
        ("(20,100)", r"\langle 20,100 \rangle"),
        ("(1,2)", "x=1, y=2"),
        ("(2,5)", r"\{x \mid 2 < x < 5\}"),
        (r"x \in (2,5)", "2 < x < 5"),
    ],
    "an option": [
        ("C", "(C)"),
        ("C", "C. 42"),
        ("C", r"\textbf{(C)}\ 42"),
        ("C", r"\text{Option C}"),
        (r"\textbf{(C)}\ 42", "42"),
        (r"\textbf{(C)}\ 42", "C"),
        ("42", "(C) 42"),
    ],
    "how it is set": [
        ("5", "**5**"),
        ("5", r"\color{red}{5}"),
        ("5", r"\text{Answer: }5"),
        (r"\frac12", r"{1 \over 2}"),
        (r"-\frac12", r"-{1 \over 2}"),
        (r"\binom{10}{3}", r"{10 \choose 3}"),
        (r"\binom{20}{3}", r"\dbinom{20}{3}"),
        (r"\frac{(2n)!}{n!n!}", r"\binom{2n}{n}"),
        (r"0.\overline{36}", r"0.\dot{3}\dot{6}"),
        (r"\frac12", "1⁄2"),
        (r"\Gamma(\tfrac14)", r"\Gamma(1/4)"),
        (r"\frac{1}{2}x", r"\frac x2"),
        (r"2\sqrt[3]{10}", "2∛10"),
        ("6", '"6"'),
        ("10:45", r"10{:}45"),
        (r"\sum_{k=1}^n k", r"\sum_{k=1}^{n} k"),
        (r"\text{hyperbola}", "a hyperbola"),
        (r"\cos\theta = \frac35", "0.6"),
        ("(3,-4)", "<3,-4>"),
        ("x^2", "x**2"),
        (r"145^\circ", r"{145^\circ}"),
        (r"\frac16", r"0.1\overline{6}"),
        ("3:2", r"3 \colon 2"),
        ("14-i", "14.0 + -1.0i"),
    ],
    "what it is about": [
        (r"\pi", r"\pi \approx 3.14"),
        (r"\frac23", r"\frac23 \approx 0.67"),
        (r"\frac23", r"\frac23 \approx 0.66"),
    ],
    "a word": [(r"\text{yes}", "Yes"), (r"\text{Monday}", r"\textbf{monday}")],
}
WRONG = {
    "a unit": [
        ("5 cents", "5 dollars"),
        (r"5\text{ eV}", r"5\text{ MeV}"),
        (r"12\text{ square units}", r"12\text{ cubic units}"),
        ("5 cm^2", "5 cm"),
        (r"60^\circ", r"60\text{ radians}"),
    ],
    "a word that is no unit": [
        ("5", "5 million"),
        ("5", r"5\text{ and a half}"),
        ("5", "more than 5"),
        ("5", "not 5"),
        ("5", "5 below zero"),
        ("6", r"6\text{ squared}"),
        ("5", r"5\text{th of June}"),
        *(("8", rf"8\text{{ {word}}}") for word in ["lakh", "twentieths", "gazillion"]),
        *(("8", rf"8\text{{ {word}}}") for word in ["recurring", "doubled", "binary"]),
        ("8", r"8\text{ for even numbers}"),
        ("12", "12C2"),
        (r"5\text{ increase}", r"5\text{ decrease}"),
    ],
    "a list or a number": [
        ("0, 180", "180"),
        ("12, 144", "12144"),
        ("12", "1 2"),
        ("1234", "12 34"),
        ("1,2", "1"),
        ("12345", r"12\quad 345"),
        ("3.14", "3. 14"),
        ("9", "9, ..."),
    ],
    "a matrix of other rows": [
        (
            r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
            r"\begin{pmatrix}2&1\\3&4\end{pmatrix}",
        ),
        (r"\begin{pmatrix}7&8\end{pmatrix}", r"\begin{pmatrix}8&7\end{pmatrix}"),
        ("A^T B", "B A^T"),
    ],
    "more than one answer": [
        ("5", "5 or 6"),
        ("5", r"5 \text{ or } 6"),
        ("5", "5, 6"),
        ("C", "C or D"),
        ("C", "D. C"),
        ("B", "A) not B"),
    ],
    "letters of a word": [
        (r"\text{no}", "on"),
        (r"\text{yes}", "sey"),
        (r"\text{cat}", "cta"),
        ("p - q", "P - q"),
        ("AB", "ab"),
    ],
    "names": [
        ("x=1, y=2", "x=2, y=1"),
        ("x=1, y=2", "2, 1"),
        ("x > 1 and x < 3", "x > 1 or x < 3"),
        ("A and B", "A or B"),
        ("A, C", "A or C"),
        ("x", "x = y"),
        ("x > 1 and y > 2", "x > 1 or y > 2"),
        ("x > 1, y > 2", "y > 1, x > 2"),
    ],
    "another option": [(r"\textbf{(C)}\ 42", "(A) 42"), ("-5", "B - 5")],
    "another value behind the sign": [
        (r"\pi", r"\pi \approx 3.2"),
        (r"\frac13", r"\frac13 \approx 0.34"),
    ],
    "a number behind a letter": [("2x", "x2")],
    "a product that looks like a unit": [(r"\frac12mv^2", r"\frac12mV^2")],
    "a product in brackets is no unit": [("13a^2(a+7)", "13a^2(a-7)")],
}


@pytest.mark.parametrize("kind", RIGHT)
def test_the_same_answer_in_another_hand_is_right(kind):
    assert [pair for pair in RIGHT[kind] if not is_right(*pair)] == []


@pytest.mark.parametrize("kind", WRONG)
def test_what_only_looks_like_the_answer_is_wrong(kind):
    assert [pair for pair in WRONG[kind] if is_right(*pair)] == []


def test_an_order_is_asked_for_by_the_rules():
    for gold, other in ("1, 3, 2", "1, 2, 3"), ("C, A, B", "A, B, C"):
        assert is_right(gold, other) and is_right(gold, gold, ordered=True)
        assert not is_right(gold, other, ordered=True)


def test_a_unit_is_a_size_of_a_dimension():
    assert units.read("km/h").size == Fraction(5, 18)
    assert units.read(r"\text{ cm}^2") == units.read("square cm")
    assert units.read("apples").nouns == {"appl"}
    for text in ("million", "x", "a^2(a+7)", "or more"):
        assert units.read(text) is None


def test_english_counts():
    for text, value in [
        ("seventeen", 17),
        ("one hundred and five", 105),
        ("three quarters", Fraction(3, 4)),
        ("two point five", Fraction(5, 2)),
        ("minus twelve", -12),
        ("ten two", None),
        ("five apples", None),
    ]:
        assert english.number(text) == value


def test_a_chinese_decimal_goes_on_in_myriads():
    assert is_right("25000", "二点五万", chinese=True)
    assert not is_right("2.5", "二点五万", chinese=True)


@pytest.mark.parametrize(
    "said", ["24多", "24以上", "24的倒数", "24个半", "24打", "24折"]
)
def test_what_changes_a_number_in_chinese_is_not_counted(said):
    assert is_right("24", "24个", chinese=True)
    assert not is_right("24", said, chinese=True)


def test_chinese_money_has_units():
    assert is_right("15元", "150角", chinese=True)
    for said in "15分", "15美元":
        assert not is_right("15元", said, chinese=True)


def test_one_letter_is_chosen_or_none():
    for text in ("B", "(B)", "B.", "option B", r"\text{B. some text}", "(B) 5"):
        assert choices.chosen(reading.tidy(text)) == "B"
    for text in ("A or B", "Bob", "AB", "B - 5", r"A \text{ (not B)}", "(B)^2", "B(3)"):
        assert choices.chosen(reading.tidy(text)) != "B"


@pytest.mark.parametrize(
    ("text", "places", "found"),
    [
        ("<answer> 5 </answer>", ("boxed", "tag"), "5"),
        ("Answer: $13$", ("answer_is",), "13"),
        (r"\boxed{4} or \boxed{5}", ("boxed",), "5"),
        (r"<think>\boxed{5}", ("boxed",), None),
        (r"<think>\boxed{4}</think> \boxed{5}", ("boxed",), "5"),
    ],
)
def test_an_answer_stands_where_it_is_asked_for(text, places, found):
    assert math.extract(text, places) == found


def test_a_gold_answer_that_states_a_solution_is_what_it_states():
    assert math.stated(r"so $\boxed{5}$") == math.stated("2+3\n#### 5") == "5"
    assert math.stated("['5']") == "5" and math.stated("5") == "5"
