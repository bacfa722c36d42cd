import threading
import time

import pytest

from c3jax.core import types
from c3jax.reward import algebra, matching, math


@pytest.fixture(scope="module")
def verifier():
    verifier = math.Verifier(workers=2)
    yield verifier
    verifier.close()


def is_right(gold: str, said: str, **rules) -> bool:
    """Judged in this process, as a worker judges it."""
    return matching.same(gold, said, types.Rules(**rules), algebra)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{ 22 }", "22"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{3} and \boxed{4", "3"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed {3}", "3"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        (r"\boxed{3}" + "x" * 5000, None),
        (r"\boxed{ }", None),
        (r"\boxed{{}", None),
        ("22", None),
        ("", None),
    ],
)
def test_the_last_balanced_box_is_the_answer(text, found):
    assert math.extract(text) == found


@pytest.mark.parametrize(
    ("text", "fallback", "found"),
    [
        ("It is 3.\n#### 18", "hash", "18"),
        ("The answer is 12. I hope", "answer_is", "12"),
        ("the answer is: $x^2$.", "answer_is", "x^2"),
        ("**Answer:** 3.5", "answer_is", "3.5"),
        ("答案是12元。", "answer_is", "12元"),
        ("from 3 to 1,250 m", "last_number", "1,250"),
        ("2 - 5 is -3", "last_number", "-3"),
        ("none", "last_number", None),
    ],
)
def test_other_places_are_looked_at_where_they_are_named(text, fallback, found):
    assert math.extract(text) is None
    assert math.extract(text, ("boxed", fallback)) == found


def test_an_unknown_place_to_look_is_refused():
    with pytest.raises(ValueError, match="fallback='box' is not known; did you mean"):
        math.extract("", ("box",))


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


@pytest.mark.parametrize(
    ("gold", "box"),
    [
        ("5", "9^{9^{9^{9}}}"),
        ("x", "x^{9^{9^{9}}}"),
        ("5", "99999999!"),
        (r"\pi", r"\pi^{99999999}"),
        ("5", "9" * 1_000_000),
        ("5", "{" * 1_000 + "5" + "}" * 1_000),
        ("x", "(" * 200 + "x" + ")" * 200),
        (r"\sqrt{2}", r"\sqrt{" * 60 + "2" + "}" * 60),
        ("x", "x" + "+x" * 240),
        ("x", r"\sum_{n=1}^{99999999} \frac{x}{n}"),
        ("5", "5\x00"),
        ("12", "\u202e21"),
        ("x", "\ud800"),
        ("5", "," * 499),
        ("5", "-" * 400 + "5"),
        ("5", "5 " + "a" * 400 + "!"),
        ("5", "1/0"),
        ("x", "x/0"),
    ],
)
def test_a_hostile_answer_is_wrong_at_once(gold, box):
    begin = time.perf_counter()
    assert math.score(rf"\boxed{{{box}}}", gold) == 0.0
    assert time.perf_counter() - begin < 3


@pytest.mark.parametrize("piece", [r"\boxed{", "{", "}", "\\", r"\boxed", "####", "1"])
def test_a_megabyte_is_looked_through_at_once(piece):
    begin = time.perf_counter()
    places = tuple(math.FALLBACKS)
    math.extract(piece * (1_000_000 // len(piece)), places)
    assert time.perf_counter() - begin < 0.5


def test_verdicts_come_in_order_and_say_what_happened(verifier):
    texts = [r"\boxed{\sqrt{8}}", "none", r"\boxed{3}", r"\boxed{x+y}", r"\boxed{4}"]
    golds = [r"2\sqrt{2}", "1", "3", "x-y", "5"]
    assert math.grade(texts, golds, verifier=verifier) == [
        math.Verdict(correct=True),
        math.Verdict(malformed=True),
        math.Verdict(correct=True),
        math.Verdict(),
        math.Verdict(),
    ]


def test_an_answer_that_takes_too_long_is_a_timeout_and_the_next_is_judged():
    verifier = math.Verifier(workers=1, limit_s=0.0)
    try:
        found = math.grade([r"\boxed{\sqrt{8}}"], [r"2\sqrt{2}"], verifier=verifier)
        assert found == [math.Verdict(timeout=True)]
    finally:
        verifier.close()


def test_what_was_judged_is_not_judged_again(verifier):
    rules = types.Rules()
    first = verifier.submit(r"\sqrt{12}", r"2\sqrt{3}", rules)
    assert verifier.submit(r"\sqrt{12}", r"2\sqrt{3}", rules) is first
    other = types.Rules(tolerance=0.1)
    assert verifier.submit(r"\sqrt{12}", r"2\sqrt{3}", other) is not first


def test_only_the_last_judgements_are_remembered():
    verifier = math.Verifier(workers=1, remembered=1)
    try:
        first = verifier.submit("x", "y", types.Rules())
        verifier.submit("x", "z", types.Rules())
        assert verifier.submit("x", "y", types.Rules()) is not first
    finally:
        verifier.close()


def test_any_thread_may_ask(verifier):
    found = {}

    def ask(n):
        text, gold = rf"\boxed{{\sqrt{{{2 * n * n}}}}}", rf"{n}\sqrt{{2}}"
        found[n] = math.grade([text], [gold], verifier=verifier)[0].correct

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(2, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(2, 12), True)


def test_plain_numbers_need_no_worker(monkeypatch):
    monkeypatch.setattr(math, "shared", None)
    texts = [r"\boxed{22}", r"\boxed{ 22.0 }", r"\boxed{21}", "22", r"\boxed{2+20}"]
    assert math.scores(texts, ["22"] * 5) == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_as_many_answers_as_texts_are_asked_for():
    with pytest.raises(ValueError, match="2 texts and 1 answers"):
        math.grade(["", ""], [""])
