import pytest

from c3jax.core import types
from c3jax.reward import algebra, matching


def is_right(gold: str, said: str, **rules) -> bool:
    """Judged in this process, as a worker judges it."""
    return matching.same(gold, said, types.Rules(**rules), algebra)


RIGHT = [
    # Numbers.
    ("22", "22.0"),
    ("-7", "−7"),
    ("0", "-0"),
    ("12345", "12,345"),
    ("12,345", r"12{,}345"),
    (r"1,\!250", "1250"),
    ("1250", r"1\,250"),
    (r"\frac{3}{4}", "0.75"),
    (r"\frac34", r"\dfrac{3}{4}"),
    (r"-\frac{5}{2}", "-5/2"),
    (r"\frac{5}{2}", r"2\frac{1}{2}"),
    ("2.5", "2 1/2"),
    (r"\frac{3}{2}", r"\frac{6}{4}"),
    (r"\frac13", r"0.\overline{3}"),
    ("120000", r"1.2 \times 10^5"),
    (r"25\%", "0.25"),
    (r"25\%", "25 percent"),
    ("5", "(5)"),
    (r"-\frac12", r"-\left(\frac{1}{2}\right)"),
    # Units and names.
    ("5", r"5\text{ cm}"),
    (r"5\text{ cm}", "5"),
    (r"5 \text{ square feet}", "5 ft^2"),
    (r"5\mbox{ inches}^2", "5 square inches"),
    ("40", r"40^\circ"),
    (r"40^{\circ}", "40 degrees"),
    ("12", r"\$12"),
    ("7", "7 apples"),
    ("5", "x = 5"),
    ("x = 5", "5"),
    ("x=5", "x = 5.0"),
    ("5", r"\angle ABC = 5"),
    ("15", "12 + 3 = 15"),
    (r"\approx 8.24", "8.24"),
    # Roots, powers, constants, functions.
    (r"2\sqrt{3}", r"\sqrt{12}"),
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
    (r"2\sqrt3", "2*sqrt(3)"),
    (r"\sqrt[4]{8}", r"8^{1/4}"),
    (r"1+\sqrt5", r"\sqrt{5} + 1"),
    (r"\frac{3\pi}{4}", r"0.75\pi"),
    ("2^{98}", "4^{49}"),
    ("2^{10}", "1024"),
    (r"\cos 13^\circ", r"\sin 77^\circ"),
    (r"\log_2 3", r"\frac{\ln 3}{\ln 2}"),
    ("3 + 4i", "4i + 3"),
    ("3 + 4i", r"3 + 4\mathrm{i}"),
    # Unknowns.
    ("x^2+3x+2", "3x + x^2 + 2"),
    ("(x+1)(x+2)", "(2+x)(1+x)"),
    (r"\frac{x+5}{6}", r"\frac{x}{6}+\frac{5}{6}"),
    ("-(ab+bc)", "-ab - cb"),
    (r"\sin^2 t", r"(\sin t)^2"),
    ("y = 2x + 3", "y = 3 + 2x"),
    ("y = 2x + 3", "2x+3"),
    ("x^2+y^2=13", "2x^2 + 2y^2 = 26"),
    (r"s^2 \le 8r^2", r"8r^2 \ge s^2"),
    # Collections.
    ("1, 2, 3", "3, 1, 2"),
    ("1,2", r"\{2, 1\}"),
    (r"-2 \text{ or } 12", "12 and -2"),
    (r"3 \pm \sqrt{2}", r"3-\sqrt2, 3+\sqrt2"),
    ("x = 1, x = 2", "2, 1"),
    (r"\left( \frac{1}{2}, 3 \right)", "(0.5, 3)"),
    ("[2, 3)", r"2 \le x < 3"),
    ("[2, 3)", r"x \in [2, 3)"),
    (r"(-\infty, 2]", r"x \leq 2"),
    (r"x > 5", r"(5, \infty)"),
    (r"(-\infty,1) \cup (2,\infty)", r"x < 1 \text{ or } x > 2"),
    (r"2\sqrt{113}", r"2\sqrt{113} \approx 21.26"),
    ("3, -3", r"x = \pm 3"),
    (r"(-\infty,1) \cup (2,3)", r"(2,3)\cup(-\infty,1)"),
    (
        r"\begin{pmatrix} 1/2 \\ 3 \end{pmatrix}",
        r"\begin{bmatrix} 0.5 \\ 3 \end{bmatrix}",
    ),
    ("3:5", "3 : 5"),
    # Words and digits.
    (r"\text{Monday}", "monday"),
    (r"\text{(B)}", "B"),
    (r"\text{A, C}", "C,A"),
    ("213_5", "213_{5}"),
]


@pytest.mark.parametrize(("gold", "said"), RIGHT)
def test_another_spelling_of_the_answer_is_right(gold, said):
    assert is_right(gold, said)


WRONG = [
    ("22", "21"),
    ("22", "-22"),
    ("0.333", r"\frac{1}{3}"),
    ("1000", "1000.0000001"),
    (r"2\sqrt{3}", r"3\sqrt{2}"),
    (r"2\sqrt{3}", "3.4641016"),
    (r"\sqrt{2}", "1.41421356237309504880168872420969807857"),
    (r"\frac{1}{2004!}", r"\frac{1}{2005!}"),
    ("R", "r"),
    (r"\frac{2}{3}", r"\frac{3}{2}"),
    ("x^2+1", "x^2-1"),
    ("1, 2, 3", "1, 2"),
    ("1, 2", "1, 1"),
    ("1, 2", "1, 2, 2"),
    ("(1, 2)", "(2, 1)"),
    (r"\text{Monday}", r"\text{Sunday}"),
    (r"5\text{ cm}", r"5\text{ m}"),
    (r"8{:}30 \text{ a.m.}", r"8{:}30 \text{ p.m.}"),
    ("5t", "5"),
    ("14k", "14K"),
    ("213_5", "213_6"),
    ("213_5", "58"),
    ("x = 5", "y = 5"),
    ("x^2+y^2=13", "x^2+y^2=12"),
    (r"s^2 \le 8r^2", r"s^2 \ge 8r^2"),
    (r"\cos 13^\circ", r"\cos 13"),
    ("xyz", "zyxw"),
]


@pytest.mark.parametrize(("gold", "said"), WRONG)
def test_another_answer_is_wrong(gold, said):
    assert not is_right(gold, said)


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("5", "2+3"),
        ("6", r"2 \cdot 3"),
        ("8", "2^3"),
        ("3", r"\frac{12}{4}"),
        ("3", "12/4"),
        ("6", "3!"),
        ("4", r"\sqrt{16}"),
        ("10", r"\binom{5}{2}"),
        ("5", "|-5|"),
        (r"\frac12", r"\sin 30^\circ"),
        ("3", r"\log_2 8"),
        ("7", r"2^{\log_2 7}"),
        (r"7\pi", r"2^{\log_2 7}\pi"),
        ("0", r"\frac{0}{6}"),
        (r"\frac{5}{6}", r"\frac12 + \frac13"),
        (r"\sqrt{6}", r"\sqrt2 \cdot \sqrt3"),
        (r"2\sqrt{3}", r"\sqrt{4 \cdot 3}"),
        (r"3\sqrt2", r"\sqrt2 + \sqrt8"),
        (r"3-2\sqrt2", r"(1-\sqrt2)^2"),
        (r"2+\sqrt3", r"\sqrt{7+4\sqrt3}"),
        ("-1", "i^2"),
        ("(2, 3)", "(1+1, 3)"),
        ("1, 4", "1, 2^2"),
        ("x^2+3x+2", "(x+1)(x+2)"),
        ("(x+1)(x+2)", "x^2+3x+2"),
        ("5x", "2x+3x"),
        ("x^3", r"x \cdot x^2"),
        ("x+1", r"\frac{x^2-1}{x-1}"),
        ("1", r"\sin^2 x + \cos^2 x"),
        (r"\pi", r"\int_0^\pi 1 dx"),
        ("7", "7 + 1 = 7"),
        ("n", "n + 1 = n"),
    ],
)
def test_an_unevaluated_expression_does_not_pass(gold, said):
    assert not is_right(gold, said)


def test_what_the_gold_answer_leaves_undone_may_be_left_undone():
    assert is_right(r"\frac{1}{2^{98}}", r"\frac{1}{4^{49}}")
    assert is_right(r"\frac{12}{4}", r"\frac{6}{2}")
    assert is_right("30!", "30!")


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("5", "[5,5]"),
        ("5", r"\{5,5\}"),
        ("(1,2)", r"\{1,2\}"),
        (r"\{1,2\}", "(1,2)"),
        ("(1,2)", "[1,2]"),
        ("(1,2)", "(1,2]"),
        ("1,2", "(1,2)"),
        ("(1,2)", "1,2"),
        (
            r"\begin{pmatrix} 1 & 2 \end{pmatrix}",
            r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
        ),
    ],
)
def test_other_brackets_are_another_answer(gold, said):
    assert not is_right(gold, said)


def test_a_percent_sign_matters_unless_the_rules_say_otherwise():
    assert not is_right("64", r"64\%")
    assert not is_right(r"64\%", "64")
    assert is_right("64", r"64\%", percent=True)
    assert is_right(r"64\%", "64", percent=True)
    assert not is_right(r"64\%", "0.0064", percent=True)


def test_a_tolerance_is_a_fraction_of_the_gold_number():
    assert is_right("200", "201", tolerance=0.005)
    assert not is_right("200", "201.1", tolerance=0.005)
    assert is_right(r"2\sqrt{3}", "3.4641", tolerance=1e-4)


def test_lowest_terms_are_asked_for_by_the_rules():
    assert not is_right(r"\frac{3}{2}", r"\frac{6}{4}", lowest_terms=True)
    assert is_right(r"\frac{3}{2}", "1.5", lowest_terms=True)
    assert is_right(r"\frac{6}{4}", r"\frac{3}{2}", lowest_terms=True)


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("120", "一百二十"),
        ("120", "一百二"),
        ("102", "一百零二个"),
        ("12", "十二元"),
        ("3", "三千克"),
        ("3060", "三千零六十千米"),
        ("3", "3小时"),
        ("3", r"3\text{小时}"),
        ("48.1", "四十八点一千克"),
        ("2/3", "三分之二"),
        (r"\frac{7}{3}", "二又三分之一"),
        ("5/6", "5/6米"),
        ("20%", "百分之二十"),
        ("35000", "3.5万元"),
        ("120000000", "一亿二千万"),
        ("2024", "二〇二四"),
        ("-5", "负五"),
        ("1/3", "2/6"),
        ("12", "１２"),
    ],
)
def test_chinese_numerals_and_units_are_read_where_the_rules_say_so(gold, said):
    assert is_right(gold, said, chinese=True)
    if any("\u4e00" <= c <= "\u9fff" for c in said) and "text" not in said:
        assert not is_right(gold, said)


def test_a_chinese_number_is_not_another():
    assert not is_right("120", "一百零二", chinese=True)
    assert not is_right("3", "3小时20分", chinese=True)
