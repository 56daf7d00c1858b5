"""Scores of rows scored together are those of each row alone, by plain log-softmax."""

import itertools
import random
import sys

import pytest
import torch
from tiny import FAMILIES
from worlds import COMPOSITIONS, prompts, tiny_bank

from tenfold.adapters import Frame, Segment, compose
from tenfold.base.attention import attention
from tenfold.base.layout import Row
from tenfold.errors import AdapterError, DataError
from tenfold.generate import Engine, Request, Score, score


def plain(bank, row, composition):
    ids = torch.tensor([row.tokens])
    with (
        attention(bank.base.model, "eager"),
        bank.use(Frame([Segment(0, sys.maxsize, composition)])),
        torch.inference_mode(),
    ):
        values = bank.base.model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
    counted = [t for t in range(1, len(row.tokens)) if row.supervised[t]]
    best = all(int(values[t - 1].argmax()) == row.tokens[t] for t in counted)
    return sum(float(values[t - 1, row.tokens[t]]) for t in counted), len(counted), best


def check(bank, items, **settings):
    for (row, composition), found in zip(items, score(bank, items, **settings), strict=True):
        logprob, tokens, likeliest = plain(bank, row, composition)
        assert (found.tokens, found.likeliest) == (tokens, likeliest)
        assert found.logprob == pytest.approx(logprob, rel=1e-5, abs=1e-4)


def options(count=5):
    """Prompts with a template in common, each with three options; only the option counts."""
    draw, rows = random.Random(1), []
    for prompt in prompts(count, shared=6):
        for length in (1, 2, 4):
            option = [draw.randrange(4, 97) for _ in range(length)]
            rows.append(Row([*prompt, *option], [False] * len(prompt) + [True] * length))
    return rows


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch_tokens", [20, 2048])
def test_options_under_every_composition(family, batch_tokens):
    bank = tiny_bank(family)
    rows = options()
    items = list(zip(rows, itertools.cycle(COMPOSITIONS), strict=False)) + [(rows[0], c) for c in COMPOSITIONS]
    check(bank, items, batch_tokens=batch_tokens)


@pytest.mark.parametrize("family", ["llama", "mistral", "gpt_neo"])
def test_loss_on_everything_counts_a_shared_beginning_for_every_row(family):
    rows = [Row(p, [True] * len(p)) for p in prompts(9)]
    check(tiny_bank(family), [(row, compose("b")) for row in [*rows, rows[0]]])


def test_flags_may_differ_on_the_same_tokens():
    tokens = prompts(1, low=12)[0]
    rows = [Row(tokens, [i % n == 0 for i in range(len(tokens))]) for n in (1, 2, 3)]
    check(tiny_bank(), [(row, ()) for row in [*rows, Row(tokens[:5], [True] * 5)]])


def test_what_greedy_decoding_says_is_the_likeliest():
    bank, composition = tiny_bank(), compose("a")
    [prompt] = prompts(1)
    [said] = Engine(bank).generate([Request(prompt, composition, max_new_tokens=6)])
    flags = [False] * len(prompt) + [True] * 6
    other = [*said.tokens[:3], (said.tokens[3] + 1) % 97, *said.tokens[4:]]
    rows = [Row([*prompt, *tokens], flags) for tokens in (said.tokens, other)]
    assert [one.likeliest for one in score(bank, [(row, composition) for row in rows])] == [True, False]
    check(bank, [(row, composition) for row in rows])


def test_a_prompt_is_run_once_for_all_its_options():
    bank, seen = tiny_bank(), []
    prompt = prompts(1, low=20)[0]
    items = [(Row([*prompt, t], [False] * len(prompt) + [True]), ()) for t in range(4, 14)]
    score(bank, items[:1])
    layer = bank.base.model.model.layers[0]
    hook = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[1]))
    score(bank, items)
    hook.remove()
    assert seen == [len(prompt) + 10]


def test_nothing_counted_and_mistakes():
    bank = tiny_bank()
    assert (
        score(bank, [(Row([5], [True]), ()), (Row([5, 6], [False, False]), compose("a"))]) == [Score(0.0, 0, True)] * 2
    )
    assert score(bank, []) == []
    with pytest.raises(DataError, match="row 0: it has no tokens"):
        score(bank, [(Row([], []), ())])
    with pytest.raises(DataError, match="row 0: 257 tokens; llama has 256 positions"):
        score(bank, [(Row([5] * 257, [True] * 257), ())])
    with pytest.raises(AdapterError, match="no adapter 'z'"):
        score(bank, [(Row([5, 6], [True, True]), compose("z"))])
