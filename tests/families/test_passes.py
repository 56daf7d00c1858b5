"""Losses, gradients, answers and files of classifiers and encoder-decoder models, against PEFT and row by row."""

from dataclasses import replace

import peft
import pytest
import torch
from others import (
    CLASSIFIERS,
    PAIRS,
    other_bank,
    some_texts,
    take_gradients,
    their_losses,
    theirs,
    train_pass,
)
from peer import close, fill
from tiny import tiny_other

from tenfold import plugins
from tenfold.adapters import BASE, Bank, compose, copies
from tenfold.adapters.lora import Config
from tenfold.adapters.merging import merged
from tenfold.base.families import AUTO
from tenfold.base.probe import settle
from tenfold.base.quantize import Quantization, quantize
from tenfold.errors import AdapterError, DataError
from tenfold.generate import Engine, Request, Sampling, score
from tenfold.generate.classify import classify
from tenfold.store import card, load, save
from tenfold.training import passes

KINDS = [*CLASSIFIERS, *PAIRS]


def their_gradients(model):
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            name = name.removeprefix("base_model.model.").replace(".modules_to_save.default", "")
            name = name.replace(".lora_A.default.weight", ".a").replace(".lora_B.default.weight", ".b")
            found[name] = parameter.grad
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_one_pass_gives_peft_s_losses_and_gradients(kind):
    bank = other_bank(kind, a=3)
    rows, peer = some_texts(bank.base.family, 3), theirs(bank, "a", 3)
    wanted = their_losses(peer, rows)
    wanted.sum().backward()
    [found] = train_pass(bank, a=rows)
    assert found == pytest.approx(float(wanted.sum()), rel=1e-4)
    own, other = take_gradients(bank, "a"), their_gradients(peer)
    assert own.keys() == other.keys()
    for name, gradient in own.items():
        torch.testing.assert_close(gradient, other[name], rtol=1e-3, atol=1e-4 * float(other[name].abs().max()) + 1e-7)


def in_double(bank):
    """The base and its adapters in float64, run in the way that was found in float32."""
    settle(bank.base)
    bank.base.model.double()
    for installed in bank.adapters.values():
        for module in (*installed.modules.values(), *installed.copies.values()):
            module.double()
    return bank


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_with_different_heads_side_by_side_are_what_they_are_alone(kind):
    """In float64, where what is left of a difference is no rounding: in float32 gradients of up to 46 round by 2e-4."""
    bank = in_double(other_bank(kind, a=3, b=5, c=2))
    rows = {name: some_texts(bank.base.family, 2, seed=i) for i, name in enumerate("abc")}
    alone = {name: (*train_pass(bank, **{name: own}), take_gradients(bank, name)) for name, own in rows.items()}
    together = train_pass(bank, **rows)
    for name, loss in zip(rows, together, strict=True):
        assert loss == pytest.approx(alone[name][0], rel=1e-5)
        for key, gradient in take_gradients(bank, name).items():
            close(gradient, alone[name][1][key], 1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_log_probabilities_of_single_rows(kind):
    bank = other_bank(kind, a=3, b=4)
    items = [(row, compose(name)) for name in "ab" for row in some_texts(bank.base.family, 3, count=7)]
    with torch.no_grad():
        wanted = torch.cat(
            [-their_losses(theirs(bank, n, c), [r for r, _ in items[:7]]) for n, c in (("a", 3), ("b", 4))]
        )
    found = score(bank, items)
    close(torch.tensor([one.logprob for one in found]), wanted, 1e-4)
    assert [one.tokens for one in found] == [row.counted for row, _ in items]


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_an_answer_is_the_likeliest_class(kind):
    bank = other_bank(kind, a=3, b=5)
    texts = [(row.tokens, compose(name)) for name in "ab" for row in some_texts("classification", 2, count=6)]
    odds = classify(bank, texts)
    assert [len(one) for one in odds] == [3] * 6 + [5] * 6
    assert all(sum(torch.tensor(one).exp()) == pytest.approx(1, abs=1e-5) for one in odds)
    names = ("no", "maybe", "yes")
    found = Engine(bank).generate([Request(t, c, choices=names) for t, c in texts])
    best = [max(range(len(one)), key=one.__getitem__) for one in odds]
    assert [one.text for one in found] == [names[i] if i < 3 else str(i) for i in best]
    drawn = Engine(bank).generate([Request(*texts[0], sampling=Sampling(1.0, seed=s)) for s in range(60)])
    assert len({one.text for one in drawn}) > 1


def test_without_a_head_there_is_no_answer():
    bank = other_bank("bert", a=3)
    bank.add("bare", "lora", Config())
    for composition in (BASE, compose("bare")):
        with pytest.raises(AdapterError, match="tiny/bert has no head of its own"):
            classify(bank, [([5, 6], composition)])
    row = some_texts("classification", 2, count=1)[0]
    with pytest.raises(DataError, match="class 7 is asked for, but the head has 3"):
        score(bank, [(type(row)(row.tokens, row.supervised, label=7), compose("a"))])


@pytest.mark.parametrize("kind", PAIRS)
def test_decoding_in_a_mixed_batch_gives_what_transformers_gives_for_one_row(kind):
    bank = other_bank(kind, a=1, b=1)
    sources = [row.source for row in some_texts("seq2seq", 0, count=6, seed=3)]
    requests = [Request(s, compose(n), 8, eos=frozenset({2})) for n in "ab" for s in sources]
    requests += [Request(s, BASE, 8, eos=frozenset({2})) for s in sources]
    found = Engine(bank, max_rows=5).generate(requests)
    start = bank.base.coding.start
    for request, completion in zip(requests, found, strict=True):
        model = theirs(bank, request.composition[0][0], 2) if request.composition else bank.base.model
        out = model.generate(
            input_ids=torch.tensor([list(request.prompt)]), max_new_tokens=8, do_sample=False, num_beams=1,
            decoder_start_token_id=start, eos_token_id=2, pad_token_id=0, forced_eos_token_id=None,
        )[0].tolist()[1:]  # fmt: skip
        wanted = out[: out.index(2)] if 2 in out else out
        assert completion.tokens == wanted
        assert completion.finish == ("eos" if 2 in out else "length")
    assert len({tuple(one.tokens) for one in found}) > 6


@pytest.mark.parametrize("kind", KINDS)
def test_heads_and_adapters_survive_saving_loading_and_switching_bit_for_bit(kind, tmp_path):
    bank = other_bank(kind, a=3, b=4)
    items = [(row, compose(name)) for name in "ab" for row in some_texts(bank.base.family, 3)]
    before = score(bank, items)
    for name in "ab":
        save(bank, name, tmp_path / name, card.describe(bank.base))
        numbers = {key: p.detach().clone() for key, p in bank.parameters(name).items()}
        bank.remove(name)
        load(bank, tmp_path / name)
        again = bank.parameters(name)
        assert again.keys() == numbers.keys()
        assert all(torch.equal(p, numbers[key]) for key, p in again.items())
    assert score(bank, items) == before
    assert score(bank, items[5:] + items[:5]) == before[5:] + before[:5]
    for name in "ab":
        bank.remove(name)
    assert all("forward" not in module.__dict__ for module in bank.base.model.modules())


@pytest.mark.parametrize("kind", KINDS)
def test_files_go_both_ways_between_peft_and_here(kind, tmp_path):
    bank = other_bank(kind, a=3)
    rows = some_texts(bank.base.family, 3)
    save(bank, "a", tmp_path / "ours", card.describe(bank.base))
    model = tiny_other(kind, labels=3)[0]
    read = peft.PeftModel.from_pretrained(model, tmp_path / "ours").eval()
    wanted = theirs(bank, "a", 3)
    with torch.no_grad():
        if bank.base.family == "seq2seq":
            close(their_losses(read, rows), their_losses(wanted, rows), 1e-4)
        names = [f"base_model.model.{head}" for head in bank.base.heads]
        for name in names:
            for one, other in zip(
                read.get_submodule(name).modules_to_save["default"].parameters(),
                wanted.get_submodule(name).modules_to_save["default"].parameters(),
                strict=True,
            ):
                assert torch.equal(one, other)  # fmt: skip
    wanted.save_pretrained(tmp_path / "theirs")
    load(bank, tmp_path / "theirs")
    assert score(bank, [(row, compose("theirs")) for row in rows]) == score(bank, [(row, compose("a")) for row in rows])


def test_a_file_without_a_head_is_refused(tmp_path):
    bank = other_bank("bert", a=3)
    bank.add("bare", "lora", Config())
    save(bank, "bare", tmp_path / "bare", card.describe(bank.base))
    with pytest.raises(AdapterError, match=r"bare: it has no head \(classifier\), and tiny/bert has none of its own"):
        load(bank, tmp_path / "bare", "again")
    assert "again" not in bank.adapters


def long(tokens, length):
    return [*tokens, *[5] * length][:length]


@pytest.mark.parametrize("kind", KINDS)
def test_padded_rows_of_dropout_are_their_own(kind):
    """The masks of a row are the same alone and beside others."""
    bank = other_bank(kind)
    new = {} if not bank.base.heads else dict(other_bank(kind, a=3).get("a").copies)
    bank.add("a", "lora", Config(lora_r=4, lora_dropout=0.4), copies=new)
    fill(bank.parameters("a").values(), spread=0.2)
    rows = some_texts(bank.base.family, 3, count=3, seed=4)
    same = [replace(row, tokens=long(row.tokens, 16), supervised=[*row.supervised, *[False] * 20][:16],
                    source=long(row.source, 12) if row.source else ()) for row in rows]  # fmt: skip

    def loss(own):
        return passes.run(bank, [passes.Part(0, compose("a"), own, 1.0, noise=(1, 2))]).losses[0]

    for parameter in bank.parameters("a").values():
        parameter.requires_grad_(True)
    assert loss(same) == pytest.approx(sum(loss([row]) for row in same), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_way_is_padded_and_right(kind):
    way = settle(other_bank(kind).base)
    assert way.path == "padded"
    assert way.error < 1e-5


def test_all_linear_leaves_heads_out():
    bank = other_bank("roberta", a=2)
    assert not any(name.startswith("classifier") for name in bank.get("a").modules)
    assert isinstance(bank, Bank)


@pytest.mark.parametrize("kind", KINDS)
def test_merged_it_is_a_model_of_its_own(kind, tmp_path):
    bank = other_bank(kind, a=3, b=5)
    pristine = {key: value.clone() for key, value in bank.base.model.state_dict().items()}
    rows = some_texts(bank.base.family, 3)
    with torch.no_grad():
        wanted = their_losses(theirs(bank, "a", 3), rows)
    with merged(bank, "a", ["no", "maybe", "yes"]):
        bank.base.model.save_pretrained(tmp_path / "merged")
    alone = AUTO[bank.base.family].from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        close(their_losses(alone, rows), wanted, 1e-4)
    if bank.base.heads:
        assert alone.config.id2label == {0: "no", 1: "maybe", 2: "yes"}
        assert bank.base.model.config.num_labels == 2
    assert all(torch.equal(value, pristine[key]) for key, value in bank.base.model.state_dict().items())


@pytest.mark.parametrize("how", [Quantization("nf4"), Quantization("int8")], ids=str)
@pytest.mark.parametrize("kind", ["bert", "t5", "bart"])
def test_on_a_base_in_few_bits(kind, how, tmp_path):
    bank = other_bank(kind, a=3, b=2)
    rows = {name: some_texts(bank.base.family, 2, seed=i) for i, name in enumerate("ab")}
    plain = [one.logprob for one in score(bank, [(row, compose(n)) for n, own in rows.items() for row in own])]
    for name in "ab":
        save(bank, name, tmp_path / name, card.describe(bank.base))
    few = other_bank(kind)
    quantize(few.base.model, how, "cpu", few.base.heads)
    few.base.quantization = how
    for name in "ab":
        load(few, tmp_path / name)
    found = [one.logprob for one in score(few, [(row, compose(n)) for n, own in rows.items() for row in own])]
    assert found != plain
    assert torch.corrcoef(torch.tensor([found, plain]))[0, 1] > 0.9
    alone = {name: train_pass(few, **{name: own})[0] for name, own in rows.items()}
    assert train_pass(few, **rows) == pytest.approx(list(alone.values()), rel=1e-4)
    assert all(p.grad.isfinite().all() for p in few.parameters("a").values())


@pytest.mark.parametrize("kind", [*CLASSIFIERS, *PAIRS])
def test_every_kind_of_adapter_beside_all_others_is_what_it_is_alone(kind):
    bank, rows = other_bank(kind), {}
    for seed, name in enumerate(plugins.names("tenfold.adapters")):
        module = plugins.find("tenfold.adapters", name)
        if name == "bottleneck" and kind in ("bert", "roberta", "bart"):  # their MLPs are no modules of their own
            with pytest.raises(AdapterError, match="has no MLP that is a module of its own"):
                bank.add(name, name, module.Config())
            continue
        own = copies.new_heads(bank.base, seed + 2, seed) if bank.base.heads else {}
        bank.add(name, name, module.Config(), seed=seed, copies=own)
        with torch.no_grad():
            for parameter in bank.parameters(name).values():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * 0.1)
        rows[name] = some_texts(bank.base.family, 2, count=3, seed=seed)
    alone = {name: (*train_pass(bank, **{name: own}), take_gradients(bank, name)) for name, own in rows.items()}
    for (name, (loss, gradients)), found in zip(alone.items(), train_pass(bank, **rows), strict=True):
        assert found == pytest.approx(loss, rel=1e-4)
        for key, gradient in take_gradients(bank, name).items():
            close(gradient, gradients[key], 1e-4)


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_rows_of_like_length_run_together_and_count_as_before(kind, monkeypatch):
    bank = other_bank(kind, a=3, b=2)
    rows = {name: some_texts(bank.base.family, 2, count=9, seed=i) for i, name in enumerate("ab")}
    found = {}
    for overhead in (0, 20, 10**9):
        monkeypatch.setattr(passes, "PASS", {True: overhead})
        losses = train_pass(bank, **rows)
        parts = [passes.Part(i, compose(name), own, 1.0) for i, (name, own) in enumerate(rows.items())]
        cut = passes.rectangles(parts, overhead)
        assert sorted(row.key for some in cut for part in some for row in part.rows) == sorted([*range(9)] * 2)
        found[len(cut)] = losses, {name: take_gradients(bank, name) for name in "ab"}
    assert len(found) == 3
    wanted, theirs_ = found[1]
    for losses, gradients in found.values():
        assert losses == pytest.approx(wanted, rel=1e-5)
        for name in "ab":
            for key, gradient in gradients[name].items():
                close(gradient, theirs_[name][key], 1e-4)
