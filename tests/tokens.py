"""A tiny tokenizer for the tiny models: one token a character, nothing downloaded."""

import string

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
KEPT = set(string.digits + string.ascii_letters + string.punctuation) - set("`^~")
CHARACTERS = "\n " + "".join(sorted(KEPT))
CHAT = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '[' + message['role'] + '] ' + message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)


def tiny_tokenizer(chat_template: str | None = CHAT) -> PreTrainedTokenizerFast:
    """97 tokens, one a character (no ` ^ ~): pad 0, bos 1, eos 2, unk 3. Adds no bos or eos itself."""
    vocab = {token: i for i, token in enumerate([*SPECIAL, *CHARACTERS])}
    core = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    core.decoder = decoders.Fuse()
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False, **names)
    tokenizer.chat_template = chat_template
    return tokenizer


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, a few longer ones, and one that ends."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate([*alphabet, "ab", "Ġthe", ".Ċ", "</s>"])}
    core = Tokenizer(models.BPE(vocab, [("a", "b")]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>")
