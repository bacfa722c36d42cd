import random
import time

from c3jax.data import overlap

LONG = (
    "A baker fills 12 trays with 30 rolls each, sells two thirds of all rolls before "
    "noon and gives what is left in equal parts to 8 neighbours. How many rolls does "
    "each of the neighbours get?"
)
CHINESE = (
    "小明从家到学校走了15分钟，每分钟走60米，照这样计算，"
    "他从学校走到图书馆用了25分钟，学校到图书馆有多少米？"
)


def near(one, other, **options):
    return overlap.find([one], [other], **options)


def test_typesetting_does_not_make_another_question():
    same = [
        ("What is $x + 1$?", "what is x+1"),
        ("Find  the\nvalue.", "Find the value"),
        ("ＡＢＣ　１２", "abc 12"),
        ("小红有３支笔？", "小红有3支笔"),
    ]
    for one, other in same:
        assert near(one, other).exact == ((0, 0),), (one, other)
    assert not near("What is 2?", "What is 3?").places
    assert not near("αβγ", "αβδ").places
    assert not near("Compute tan 225.", "Compute tan 22.5.").places
    # What differs in its signs alone counts as the same.
    assert near("Solve $x-1=0$.", "Solve $x+1=0$.").exact


def test_a_question_with_a_word_changed_is_near():
    changed = LONG.replace("rolls each", "buns each")
    found = near(changed, LONG)
    assert not found.exact
    ((train, test, share),) = found.near
    assert (train, test) == (0, 0) and 0.5 < share < 1
    assert near("Read this first. " + LONG, LONG).near == ((0, 0, 1.0),)
    assert near("请看：" + CHINESE, CHINESE).near == ((0, 0, 1.0),)


def test_a_question_with_another_number_is_another_question():
    assert not near(LONG.replace("8", "9"), LONG).places
    assert not near(CHINESE.replace("25", "35"), CHINESE).places
    # The last words and numbers of two problems may well be the same.
    template = "What is the sum of all of the positive whole number divisors of {}?"
    assert not near(template.format(196), template.format(360)).places


def test_short_questions_are_found_only_if_they_are_the_same():
    assert near("Name a prime.", "Name a prime!").exact
    assert not near("Please name a prime.", "Name a prime.").places


def test_the_share_and_the_length_are_settings():
    changed = LONG.replace("fills", "loads")
    assert near(changed, LONG).near
    assert not near(changed, LONG, share=1.0).near
    assert not near(changed, LONG, n=0).places
    assert near(LONG, LONG, n=0).exact


def test_each_training_question_is_found_once_with_its_nearest():
    other = LONG.replace("A baker", "One baker")
    found = overlap.find(["x", LONG, other, LONG], ["y", other, LONG, LONG])
    assert found.exact == ((1, 2), (2, 1), (3, 2))
    assert found.places == {1, 2, 3}
    assert str(found) == "3 word for word, 0 nearly"


def test_what_is_called_the_same_is_found_once():
    found = overlap.find(["one", "two", "three"], ["two"])
    found = overlap.named(found, ["a", "b", ""], ["b", "a", ""])
    assert (found.exact, found.named) == (((1, 0),), ((0, 1),))
    assert str(found) == "1 word for word, 0 nearly, 1 by name"


def test_a_token_is_a_word_or_a_character_of_a_script_that_does_not_part_words():
    assert overlap.tokens(r"Add $\frac{1}{23}$, ok?") == [
        "add",
        "frac",
        "1",
        "23",
        "ok",
    ]
    assert overlap.tokens("有15支笔 of 笔") == ["有", "15", "支", "笔", "of", "笔"]
    assert overlap.letters("a_b, C-3!") == "abc3"


def test_thousands_of_questions_take_no_time():
    rng = random.Random(0)
    words = [f"word{n}" for n in range(2000)]
    texts = [" ".join(rng.choices(words, k=40)) for _ in range(4000)]
    begin = time.perf_counter()
    found = overlap.find(texts, texts[3000:] + texts[:10])
    assert len(found.exact) == 1010 and not found.near
    assert time.perf_counter() - begin < 5
