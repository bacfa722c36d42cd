import numpy as np
import pytest

from c3jax.core.types import Role
from c3jax.data import tokenizer
from c3jax.protocol import prompts

ROLES = (
    Role("reasoner", "write the sum ."),
    Role("actor", "work it out .", ("reasoner",), True),
)
QUESTION = "leo has 35 pens . lends 7 . how many now ?"


@pytest.fixture(scope="module")
def words():
    return tokenizer.load("words")


def rendered(words, role, user):
    return words.apply_chat_template(
        [
            {"role": "system", "content": role.instruction},
            {"role": "user", "content": user},
        ],
        add_generation_prompt=True,
        return_dict=False,
    )


def test_a_context_has_the_ids_of_the_rendered_chat_template(words):
    compiled = [prompts.prompt(words, role, ROLES) for role in ROLES]
    question = words.encode(QUESTION, add_special_tokens=False)
    message = words.encode("35 -7", add_special_tokens=False)
    first, second = compiled
    ids = [*first.before, *question, *first.after, first.script.opener]
    assert ids == rendered(words, ROLES[0], QUESTION)
    ids = [*second.before, *question, *second.after]
    ids += [*message, *second.script.glue[0], second.script.opener]
    assert ids == rendered(words, ROLES[1], f"{QUESTION}\n\nreasoner :\n35 -7")
    assert second.script.reads == (0,)


def test_heads_are_padded_on_the_right(words):
    compiled = tuple(prompts.prompt(words, role, ROLES) for role in ROLES)
    found = prompts.encode(compiled, [4, 9], [QUESTION, "now ?"], 32)
    np.testing.assert_array_equal(found.uid, [4, 9])
    for head, length in zip(found.heads, found.lengths, strict=True):
        assert head.shape == (2, 32)
        assert (head[:, : length.min()] > 0).all()
        assert not head[1, length[1] :].any()


def test_a_question_that_does_not_fit_is_refused(words):
    compiled = tuple(prompts.prompt(words, role, ROLES) for role in ROLES)
    with pytest.raises(ValueError, match="more than 8; raise data.prompt_tokens"):
        prompts.encode(compiled, [0], [QUESTION], 8)
    with pytest.raises(ValueError, match="does not know a word of 'what \\?'"):
        prompts.encode(compiled, [0], ["what ?"], 32)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages[0].content }}<assistant>", "0 times instead of once"),
        (
            "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}<end>",
            "2 times instead of once",
        ),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "opens no answer"),
    ],
)
def test_a_template_that_loses_a_part_is_refused(template, message):
    words = tokenizer.load("words")
    words.chat_template = template
    with pytest.raises(ValueError, match=message):
        prompts.prompt(words, ROLES[0], ROLES)
