import pytest
from tiny import tiny_model
from tokens import tiny_tokenizer

from tenfold.base.chat import end_of_turn, render_chat
from tenfold.errors import DataError, ModelError

USER = {"role": "user", "content": "Say {x} </s>"}
ANSWER = {"role": "assistant", "content": "{x}"}


def test_messages_go_through_the_template():
    text = render_chat(tiny_tokenizer(), [USER, ANSWER], add_generation_prompt=False)
    assert text == "<s>[user] Say {x} </s>\n[assistant] {x}</s>"


def test_the_generation_prompt_is_a_prefix_of_the_whole():
    prompt = render_chat(tiny_tokenizer(), [USER], add_generation_prompt=True)
    whole = render_chat(tiny_tokenizer(), [USER, ANSWER], add_generation_prompt=False)
    assert prompt.endswith("[assistant] ")
    assert whole.startswith(prompt)


def test_no_template():
    with pytest.raises(ModelError, match="no chat template; use raw text"):
        render_chat(tiny_tokenizer(chat_template=None), [USER], add_generation_prompt=True)


def test_a_template_that_refuses():
    tokenizer = tiny_tokenizer("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(DataError, match=r"\[user, user\].*roles must alternate"):
        render_chat(tokenizer, [USER, USER], add_generation_prompt=True)


@pytest.mark.parametrize(("stated", "expected"), [(None, {2}), (2, {2}), (5, {2, 5}), ([5, 6], {2, 5, 6})])
def test_end_of_turn_takes_the_tokens_of_both(stated, expected):
    model = tiny_model()
    model.generation_config.eos_token_id = stated
    assert end_of_turn(tiny_tokenizer(), model) == expected


def test_end_of_turn_without_any():
    model, tokenizer = tiny_model(), tiny_tokenizer()
    model.generation_config.eos_token_id = tokenizer.eos_token = None
    assert end_of_turn(tokenizer, model) == set()


@pytest.mark.real
def test_smollm2_has_its_system_prompt(smollm2):
    text = render_chat(smollm2.tokenizer, [{"role": "user", "content": "Hi"}], add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert end_of_turn(smollm2.tokenizer, smollm2.model) == {2}
