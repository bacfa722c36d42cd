import json
import random

import pytest

from c3jax.data import problems, tokenizer


@pytest.fixture(scope="module")
def words():
    return tokenizer.load("words")


def test_every_problem_and_demonstration_survives_the_round_trip(words):
    rng = random.Random(0)
    for split in problems.SPLITS:
        source = problems.Problems(split)
        for index in range(200):
            shown = problems.demonstrate(source[index], rng, problems.Carelessness())
            for text in (source[index].text, shown.plan, shown.answer):
                assert words.decode(words.encode(text)) == text


def test_a_number_is_one_token_and_so_is_a_change(words):
    numbers = [str(n) for n in range(100)] + ["+7", "-7"]
    assert [len(words.encode(number)) for number in numbers] == [1] * 102


@pytest.mark.parametrize("name", tokenizer.EMBEDDED)
def test_a_kept_tokenizer_is_the_one_that_is_built(name):
    kept = tokenizer.load(name)
    built = tokenizer.word_level(tokenizer.embedded_words(name))
    assert built.get_vocab() == kept.get_vocab()
    assert built.chat_template == kept.chat_template
    assert built.eos_token_id == kept.eos_token_id == 2


def test_a_missing_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*tokenizer_config.json"):
        tokenizer.load(str(tmp_path))


def test_a_tokenizer_splits_as_its_file_says_whatever_model_is_beside_it(tmp_path):
    import tokenizers
    import transformers

    pre = tokenizers.pre_tokenizers
    alphabet = sorted(pre.ByteLevel.alphabet())
    known = {word: i for i, word in enumerate(["<end>", *alphabet, "12", "ab"])}
    merges = [("1", "2"), ("a", "b")]
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(known, merges))
    backend.pre_tokenizer = pre.ByteLevel(False)  # Qwen2 splits numbers into digits.
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<end>", chat_template="{{ messages }}"
    )
    made.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    path = tmp_path / "tokenizer_config.json"
    page = json.loads(path.read_text()) | {"tokenizer_class": "Qwen2Tokenizer"}
    path.write_text(json.dumps(page))
    found = tokenizer.load(str(tmp_path))
    [ids] = found(["ab 12"], add_special_tokens=False)["input_ids"]
    assert ids == backend.encode("ab 12").ids and len(ids) == 3
