import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokens import tiny_tokenizer

from tenfold.base import Coding
from tenfold.errors import DataError, ModelError
from tenfold.tasks.examples import Example
from tenfold.tasks.formats import build
from tenfold.tasks.settings import TaskSettings
from tenfold.tasks.tokens import encode, encode_all, prompt_tokens

TOKENIZER = tiny_tokenizer()
CODING = Coding(TOKENIZER)
BOS, EOS = TOKENIZER.bos_token_id, TOKENIZER.eos_token_id
ROLE = st.sampled_from(["user", "assistant", "system"])
MESSAGE = st.fixed_dictionaries({"role": ROLE, "content": st.text(max_size=9)})
PROMPT = st.text(max_size=30) | st.lists(MESSAGE, min_size=1, max_size=5).map(tuple)


def text_of(tokens):
    return TOKENIZER.decode(tokens)


def supervised_text(encoded):
    return text_of([t for t, s in zip(encoded.row.tokens, encoded.row.supervised, strict=True) if s])


def chat(*turns):
    roles = ("user", "assistant")
    return tuple({"role": roles[i % 2], "content": text} for i, text in enumerate(turns))


@given(PROMPT, st.text(min_size=1, max_size=20), st.none() | st.integers(8, 40), st.booleans())
def test_the_prompt_is_always_the_beginning_of_the_row(prompt, response, limit, everything):
    settings = TaskSettings(sequence_len=limit, train_on_inputs=everything)
    encoded = encode(Example(7, prompt, response, {}), CODING, settings)
    row, start = encoded.row, len(encoded.prompt)
    answer = TOKENIZER(response, add_special_tokens=False)["input_ids"] + [EOS]
    assert row.tokens[:start] == encoded.prompt
    assert row.tokens[start:] == answer[: len(row.tokens) - start]
    assert len(row.supervised) == len(row.tokens) <= (limit or 10_000)
    assert row.key == 7
    assert all(row.supervised[start:])
    assert all(row.supervised) or not everything
    whole = prompt_tokens(prompt, CODING)
    assert encoded.truncated == (len(whole) + len(answer) > (limit or 10_000))
    assert encoded.truncated or (encoded.prompt == whole and row.tokens[-1] == EOS)


@given(st.lists(st.text(max_size=9), min_size=1, max_size=7).filter(lambda turns: len(turns) % 2))
def test_every_answer_of_a_chat_is_supervised_and_nothing_else(turns):
    prompt = chat(*(turn.strip() for turn in turns))
    encoded = encode(Example(0, prompt, "last", {}), CODING, TaskSettings())
    expected = "".join(m["content"] + "</s>" for m in prompt if m["role"] == "assistant") + "last</s>"
    shown = TOKENIZER.decode(TOKENIZER(expected, add_special_tokens=False)["input_ids"])
    assert supervised_text(encoded) == shown


def test_a_chat_row():
    encoded = encode(Example(0, chat("Hi"), "Ho", {}), CODING, TaskSettings())
    assert text_of(encoded.row.tokens) == "<s>[user] Hi\n[assistant] Ho</s>"
    assert supervised_text(encoded) == "Ho</s>"
    assert not encoded.truncated


def test_a_raw_row_gets_what_the_tokenizer_puts_before_a_text_and_not_after_it():
    adding = tiny_tokenizer()
    from tokenizers.processors import TemplateProcessing

    adding.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    assert text_of(encode(Example(0, "Hi", "Ho", {}), Coding(adding), TaskSettings()).row.tokens) == "<s>HiHo</s>"
    assert text_of(prompt_tokens("", Coding(adding))) == "<s>"
    assert text_of(encode(Example(0, "Hi", "Ho", {}), CODING, TaskSettings()).row.tokens) == "HiHo</s>"


def test_truncation_cuts_the_left_of_the_prompt_but_not_the_bos():
    settings = TaskSettings(sequence_len=16)
    encoded = encode(Example(0, chat("a long question"), "answer", {}), CODING, settings)
    assert text_of(encoded.row.tokens) == "<s>istant] answer</s>"
    assert encoded.truncated


def test_a_response_that_is_too_long_loses_its_tail():
    settings = TaskSettings(sequence_len=8)
    encoded = encode(Example(0, chat("q"), "0123456789", {}), CODING, settings)
    assert text_of(encoded.row.tokens) == "<s>0123456"
    assert encoded.truncated
    raw = encode(Example(0, "xyz", "0123456789", {}), CODING, settings)
    assert text_of(raw.row.tokens) == "z0123456"


def test_truncation_keeps_flags_with_their_tokens():
    example = Example(0, chat("q", "AAAA", "r"), "BB", {})
    encoded = encode(example, CODING, TaskSettings(sequence_len=28))
    assert encoded.truncated
    assert text_of(encoded.row.tokens) == "<s>AA</s>[user] r\n[assistant] BB</s>"
    assert supervised_text(encoded) == "AA</s>BB</s>"


def test_braces_and_special_looking_rows_in_order():
    examples = [Example(i, f"{{{i}}}", str(i), {}) for i in range(1200)]
    encoded = encode_all(examples, CODING, TaskSettings())
    assert [one.row.key for one in encoded] == list(range(1200))
    assert encoded[1199] == encode(examples[1199], CODING, TaskSettings())


def test_nothing_to_learn_is_an_error():
    with pytest.raises(DataError, match="no token of 2 rows is supervised"):
        encode_all([Example(0, "", "", {})] * 2, CODING, TaskSettings())
    assert encode_all([], CODING, TaskSettings()) == []


def test_a_tokenizer_without_eos_is_an_error():
    without = tiny_tokenizer()
    without.eos_token = None
    with pytest.raises(ModelError, match="no EOS"):
        encode(Example(0, "a", "b", {}), Coding(without), TaskSettings())


def test_a_template_that_drops_an_earlier_answer_is_an_error():
    forgetful = tiny_tokenizer("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}")
    with pytest.raises(DataError, match="leaves out an earlier answer of the assistant: 'kept'"):
        encode(Example(0, chat("a", "kept", "b"), "c", {}), Coding(forgetful), TaskSettings())


@pytest.mark.real
def test_golden_tokens_of_smollm2(smollm2):
    tokenizer = smollm2.tokenizer
    settings = TaskSettings(prompt="{text}", response="{answer}")
    [example] = build([{"text": "5 March 2021", "answer": "2021-03-05"}], settings, "x")
    encoded = encode(example, Coding(tokenizer), settings)
    assert tokenizer.decode(encoded.row.tokens) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\n5 March 2021<|im_end|>\n<|im_start|>assistant\n2021-03-05<|im_end|>"
    )
    answer = encoded.row.tokens[len(encoded.prompt) :]
    assert [tokenizer.decode([token]) for token in answer] == [*"2021-03-05", "<|im_end|>"]
    assert prompt_tokens("Hi", Coding(tokenizer)) == tokenizer("Hi", add_special_tokens=False)["input_ids"]


@pytest.mark.real
def test_several_answers_with_smollm2(smollm2):
    tokenizer = smollm2.tokenizer
    encoded = encode(Example(0, chat("Hi", " Ho, you! ", "Hm?"), "So so.", {}), Coding(tokenizer), TaskSettings())
    kept = [t for t, s in zip(encoded.row.tokens, encoded.row.supervised, strict=True) if s]
    assert tokenizer.decode(kept) == " Ho, you! <|im_end|>So so.<|im_end|>"


@pytest.mark.real
def test_thousands_of_rows_take_about_a_second(smollm2, data):
    from tenfold.tasks.settings import SourceSettings
    from tenfold.tasks.sources import read

    settings = TaskSettings(prompt="{premise}\n{hypothesis}", response="{label}")
    examples = build(read(SourceSettings(path="mnli/train.jsonl"), data), settings, "mnli")
    start = time.perf_counter()
    encode_all(examples, Coding(smollm2.tokenizer), settings)
    assert time.perf_counter() - start < 5  # one second on an idle machine
