"""Prompt and response to tokens: the one way, in training, evaluation and serving.

The prompt is tokenised alone and the response alone, so that what the model sees before its first
own token is the same in training and in use, whatever the tokenizer would make of both together.
What an encoder reads is the prompt's text with the special tokens that the tokenizer puts around a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from tenfold.base.chat import render_chat
from tenfold.base.layout import Row
from tenfold.base.model import Coding
from tenfold.errors import DataError, ModelError
from tenfold.progress import SILENT, Progress
from tenfold.tasks.examples import IGNORED, Example, Message, Prompt
from tenfold.tasks.settings import TaskSettings

CHUNK = 512


@dataclass(frozen=True)
class Encoded:
    """One example's tokens.

    row: prompt, response, EOS, with the flags of what counts in the loss; see ``Row`` for models with an encoder.
    prompt: the tokens before the response; the beginning of the row, its source, or for classification all of it.
    truncated: whether sequence_len cut something off.
    """

    row: Row
    prompt: list[int]
    truncated: bool

    @property
    def answer(self) -> int:
        """How many tokens the response and its EOS are; a class is none."""
        return len(self.row.tokens) - (1 if self.row.source else len(self.prompt))


def prompt_tokens(prompt: Prompt, coding: Coding) -> list[int]:
    """The tokens that stand before an answer, for raw text or for messages. Nothing is cut off.

    Messages go through the chat template; raw text gets the special tokens that the tokenizer puts
    before a text (a BOS), never those that it puts after one. An encoder reads the text of either.
    """
    if coding.family != "causal":
        return _read([prompt], coding.tokenizer)[0]
    return _prompts([prompt], coding.tokenizer)[0]


def encode(example: Example, coding: Coding, settings: TaskSettings) -> Encoded:
    """One example's tokens, as ``encode_all`` makes them."""
    return encode_all([example], coding, settings)[0]


def encode_all(
    examples: Sequence[Example], coding: Coding, settings: TaskSettings, progress: Progress = SILENT
) -> list[Encoded]:
    """The tokens of all examples, in order; a row's key is its example's index.

    The response and its EOS are supervised, with messages the earlier answers too; everything with
    train_on_inputs. A row longer than sequence_len loses tokens on the left of its prompt (not the
    BOS); where the response alone is too long, its tail and its EOS. What an encoder reads loses its
    end. Raises DataError where no token of any row is supervised and for a response that is no class,
    ModelError for a tokenizer without EOS.
    """
    if coding.family != "classification" and coding.tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no EOS token, so an answer would never end")
    encoded: list[Encoded] = []
    if examples and examples[0].tokens:
        return [_given(example, coding) for example in examples]
    chunked = {"causal": _encode_chunk, "seq2seq": _encode_pairs, "classification": _encode_labelled}[coding.family]
    with progress.start("tokenising", len(examples), "rows") as task:
        for start in range(0, len(examples), CHUNK):
            chunk = examples[start : start + CHUNK]
            encoded += chunked(chunk, coding, settings)
            task.advance(len(chunk))
    if examples and not any(one.row.counted for one in encoded):
        raise DataError(f"no token of {len(examples)} rows is supervised: there is nothing to learn")
    return encoded


def _given(example: Example, coding: Coding) -> Encoded:
    """A row that is tokens already, laid out for the base's family; nothing is added and nothing cut."""
    tokens, index = example.tokens, example.index
    assert tokens
    ids, labels = list(tokens.ids), tokens.labels
    if coding.family == "classification":
        if tokens.label is None:
            raise DataError(f"row {index + 1}: no class in a column label or labels")
        return Encoded(Row(ids, [False] * len(ids), index, label=tokens.label), ids, False)
    if coding.family == "seq2seq":
        assert coding.start is not None, "an encoder-decoder model without a start token"
        told = [one for one in labels or () if one != IGNORED]
        row = Row([coding.start, *told], [False, *[True] * len(told)], index, source=ids)
        return Encoded(row, ids, False)
    if labels is not None and list(labels) != _fitting(ids, labels):
        raise DataError(f"row {index + 1}: labels must be input_ids, or {IGNORED} where a token doesn't count")
    supervised = [one != IGNORED for one in labels or ids]
    start = next((i for i, counts in enumerate(supervised) if counts and i), len(ids))
    return Encoded(Row(ids, supervised, index), ids[:start], False)


def _fitting(ids: Sequence[int], labels: Sequence[int]) -> list[int]:
    """What the labels must be where they count for just what they count for."""
    places = range(len(ids))
    return [IGNORED if i < len(labels) and labels[i] == IGNORED else ids[i] for i in places]


def _encode_chunk(examples: Sequence[Example], coding: Coding, settings: TaskSettings) -> list[Encoded]:
    tokenizer = coding.tokenizer
    prompts = _prompts([example.prompt for example in examples], tokenizer)
    responses = _tokenise([example.response for example in examples], tokenizer)
    head = _head(tokenizer)
    return [
        _assemble(example, prompt, [*response, tokenizer.eos_token_id], head, tokenizer, settings)
        for example, prompt, response in zip(examples, prompts, responses, strict=True)
    ]


def _encode_pairs(examples: Sequence[Example], coding: Coding, settings: TaskSettings) -> list[Encoded]:
    """For an encoder that reads the prompt and a decoder that writes the response."""
    tokenizer, limit, found = coding.tokenizer, settings.sequence_len, []
    assert coding.start is not None, "an encoder-decoder model without a start token"
    sources = _read([example.prompt for example in examples], tokenizer, limit)
    whole = _read([example.prompt for example in examples], tokenizer) if limit else sources
    responses = _tokenise([example.response for example in examples], tokenizer)
    for example, source, uncut, response in zip(examples, sources, whole, responses, strict=True):
        tokens = [coding.start, *response, tokenizer.eos_token_id]
        kept = tokens[: limit and limit + 1]
        row = Row(kept, [False, *[True] * (len(kept) - 1)], example.index, source=source)
        found.append(Encoded(row, source, len(kept) < len(tokens) or len(source) < len(uncut)))
    return found


def _encode_labelled(examples: Sequence[Example], coding: Coding, settings: TaskSettings) -> list[Encoded]:
    """For a text and its class."""
    classes, limit, found = settings.classes, settings.sequence_len, []
    if len(classes) < 2:
        raise DataError("options: needed for classification: all classes by name (or labels)")
    texts = _read([example.prompt for example in examples], coding.tokenizer, limit)
    whole = _read([example.prompt for example in examples], coding.tokenizer) if limit else texts
    for example, text, uncut in zip(examples, texts, whole, strict=True):
        if example.response.strip() not in classes:
            raise DataError(f"row {example.index + 1}: {example.response.strip()!r} is none of {', '.join(classes)}")
        row = Row(text, [False] * len(text), example.index, label=classes.index(example.response.strip()))
        found.append(Encoded(row, text, len(text) < len(uncut)))
    return found


def _read(prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase, limit: int | None = None) -> list[list[int]]:
    """What an encoder reads: the text of a prompt (of messages each on a line), with special tokens around it."""
    texts = [p if isinstance(p, str) else "\n".join(message["content"] for message in p) for p in prompts]
    tokens: list[list[int]] = tokenizer(texts, truncation=limit is not None, max_length=limit, verbose=False)[
        "input_ids"
    ]
    return tokens


def _prompts(prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    tokens = _tokenise([_text(prompt, tokenizer) for prompt in prompts], tokenizer)
    head = _head(tokenizer)
    return [[*head, *own] if isinstance(p, str) else own for p, own in zip(prompts, tokens, strict=True)]


def _text(prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> str:
    if isinstance(prompt, str):
        return prompt
    return render_chat(tokenizer, list(prompt), add_generation_prompt=True)


def _tokenise(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    tokens: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return tokens


def _head(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The special tokens that the tokenizer puts before a text."""
    plain: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    full: list[int] = tokenizer("a")["input_ids"]
    places = [i for i in range(len(full) - len(plain) + 1) if full[i : i + len(plain)] == plain]
    return full[: places[0]] if places else []


def _assemble(
    example: Example,
    prompt: list[int],
    answer: list[int],
    head: list[int],
    tokenizer: PreTrainedTokenizerBase,
    settings: TaskSettings,
) -> Encoded:
    flags = _earlier_answers(example.prompt, len(prompt), tokenizer)
    keep = len(head) if head and prompt[: len(head)] == head else int(prompt[:1] == [tokenizer.bos_token_id])
    cut, answer_room = _cut(len(prompt), len(answer), keep, settings.sequence_len)
    truncated = cut > 0 or answer_room < len(answer)
    prompt, flags = prompt[:keep] + prompt[keep + cut :], flags[:keep] + flags[keep + cut :]
    answer = answer[:answer_room]
    tokens = prompt + answer
    supervised = [True] * len(tokens) if settings.train_on_inputs else flags + [True] * len(answer)
    return Encoded(Row(tokens, supervised, example.index), prompt, truncated)


def _cut(prompt: int, answer: int, keep: int, limit: int | None) -> tuple[int, int]:
    """How many of the prompt's tokens go, and how many of the answer's stay; both counts of tokens.

    At least one token of the prompt stays: the answer's first token is predicted from it.
    """
    if limit is None or prompt + answer <= limit:
        return 0, answer
    answer = min(answer, limit - min(max(keep, 1), prompt))
    return max(prompt + answer - limit, 0), answer


def _earlier_answers(prompt: Prompt, length: int, tokenizer: PreTrainedTokenizerBase) -> list[bool]:
    """For each of the prompt's tokens whether it belongs to an answer of the assistant or its end."""
    if isinstance(prompt, str) or all(message["role"] != "assistant" for message in prompt):
        return [False] * length
    if not tokenizer.is_fast:
        raise DataError("several answers in one row need a fast tokenizer, one that tells where tokens stand")
    text = _text(prompt, tokenizer)
    spans = _answer_spans(prompt, text, tokenizer)
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    return [any(begin < stop and end > start for start, stop in spans) for begin, end in offsets]


def _answer_spans(messages: Sequence[Message], text: str, tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, int]]:
    """Where the assistant's answers stand in the rendered text, each with its end-of-turn token."""
    spans, cursor = [], 0
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _text(tuple(messages[:number]), tokenizer) if number else ""
        place = len(before) if text.startswith(before) else cursor
        answer = message["content"]
        if not text.startswith(answer, place):  # many templates strip it
            answer = answer.strip()
        start = text.find(answer, place)
        if start < 0:
            raise DataError(f"the chat template leaves out an earlier answer of the assistant: {answer[:60]!r}")
        cursor = start + len(answer)
        cursor += _special_length(text, cursor, tokenizer)
        spans.append((start, cursor))
    return spans


def _special_length(text: str, place: int, tokenizer: PreTrainedTokenizerBase) -> int:
    return max((len(token) for token in tokenizer.all_special_tokens if text.startswith(token, place)), default=0)
