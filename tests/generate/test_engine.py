"""Rows decoded together get what transformers gives each of them alone, under their adapters."""

import itertools

import pytest
import torch
from peer import fill
from tiny import FAMILIES
from worlds import COMPOSITIONS, alone, prompts, same, tiny_bank

from tenfold import plugins
from tenfold.adapters import compose
from tenfold.base.probe import settle
from tenfold.errors import AdapterError, ConfigError, DataError
from tenfold.generate import Engine, Request

ROWS, NEW = 12, 20


@pytest.fixture(scope="module")
def llama():
    return tiny_bank("llama")


def mixed(count=ROWS, new=NEW, **settings):
    pairs = zip(prompts(count), itertools.cycle(COMPOSITIONS), strict=False)
    return [Request(p, c, max_new_tokens=new, **settings) for p, c in pairs]


def ties(bank, requests, completions):
    """Compares each with transformers alone; returns how many parted at a near-tie."""
    met = 0
    for request, completion in zip(requests, completions, strict=True):
        truth, gaps = alone(bank, request.prompt, request.composition, request.max_new_tokens)
        agree, tie = same(completion.tokens, truth, gaps)
        assert agree, (request, completion.tokens, truth)
        assert completion.finish == "length"
        met += tie
    return met


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_what_each_row_gives_alone(family):
    bank, requests = tiny_bank(family), mixed()
    assert ties(bank, requests, Engine(bank).generate(requests)) <= 1


def test_every_kind_decodes_beside_the_others():
    bank, names = tiny_bank("llama", ()), plugins.names("tenfold.adapters")
    for seed, name in enumerate(names):
        bank.add(name, name, plugins.find("tenfold.adapters", name).Config(), seed=seed)
        fill(bank.parameters(name).values(), seed, spread=0.3)
    used = [compose(name) for name in names] + [compose(*names), compose()]
    pairs = zip(prompts(ROWS), itertools.cycle(used), strict=False)
    requests = [Request(prompt, composition, max_new_tokens=NEW) for prompt, composition in pairs]
    assert ties(bank, requests, Engine(bank).generate(requests)) <= 1


def test_half_precision_runs_together_too():
    bank = tiny_bank("gemma2")
    bank.base.model.bfloat16()
    completions = Engine(bank, max_rows=4).generate(mixed())
    assert [len(c.tokens) for c in completions] == [NEW] * ROWS
    near = sum(
        completion.tokens[0] == alone(bank, request.prompt, request.composition, 1)[0][0]
        for request, completion in zip(mixed(), completions, strict=True)
    )
    assert near >= ROWS - 2


def test_bank_without_adapters():
    bank = tiny_bank("qwen3", adapters=())
    requests = [Request(p, max_new_tokens=8) for p in prompts(5)]
    assert ties(bank, requests, Engine(bank).generate(requests)) == 0


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
@pytest.mark.parametrize("rows", [1, 3, 5])
def test_fewer_slots_than_requests(family, rows):
    bank, requests = tiny_bank(family), mixed(11)
    lengths = [1, 2, 30, 7, 3, 19, 1, 24, 5, 2, 9]
    requests = [Request(r.prompt, r.composition, max_new_tokens=n) for r, n in zip(requests, lengths, strict=True)]
    completions = Engine(bank, max_rows=rows).generate(requests)
    assert [len(c.tokens) for c in completions] == lengths
    assert ties(bank, requests, completions) <= 1


def test_rows_move_together_when_most_have_left(llama):
    requests = [Request(p, COMPOSITIONS[i % 4], 40 if i in (3, 9, 10) else 2) for i, p in enumerate(prompts(12))]
    assert ties(llama, requests, Engine(llama).generate(requests)) <= 1


def test_same_prompt_twice_and_a_prompt_that_begins_another(llama):
    long = prompts(1, low=30, high=30)[0]
    requests = [Request(p, compose("a"), 9) for p in (long, long[:10], long, long[:1], long[:29])]
    completions = Engine(llama).generate(requests)
    assert ties(llama, requests, completions) == 0
    assert completions[0] == completions[2]


def test_prompts_of_several_prefill_passes(llama, monkeypatch):
    monkeypatch.setattr("tenfold.generate.engine.PREFILL", 25)
    requests = mixed()
    assert ties(llama, requests, Engine(llama).generate(requests)) <= 1


def test_as_peft_alone(tmp_path):
    from peft import LoraConfig, get_peft_model
    from tiny import tiny_model

    bank = tiny_bank("llama", adapters=("a",))
    model = tiny_model("llama")
    peft = get_peft_model(model, LoraConfig(r=4, lora_alpha=16, target_modules="all-linear")).eval()
    ours = bank.parameters("a")
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            module.lora_A.default.weight.data = ours[f"{name}.a"].data
            module.lora_B.default.weight.data = ours[f"{name}.b"].data
    requests = [Request(p, compose("a"), 16) for p in prompts(6)]
    for request, completion in zip(requests, Engine(bank).generate(requests), strict=True):
        ids = torch.tensor([request.prompt])
        out = peft.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False,
            eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        assert completion.tokens == out[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_eos_ends_each_row_at_its_own_step(family):
    bank, requests = tiny_bank(family), mixed()
    full = Engine(bank).generate(requests)
    eos = frozenset(completion.tokens[3 * i % NEW] for i, completion in enumerate(full[:4]))
    ended = Engine(bank).generate([Request(r.prompt, r.composition, NEW, eos=eos) for r in requests])
    for whole, short in zip(full, ended, strict=True):
        at = next((i for i, token in enumerate(whole.tokens) if token in eos), None)
        assert short.finish == ("length" if at is None else "eos")
        assert short.tokens == whole.tokens[:at]
    assert len({len(c.tokens) for c in ended}) > 2


@pytest.mark.parametrize("family", ["llama", "gpt_neo"])
def test_stop_strings_cut_the_text(family):
    bank, requests = tiny_bank(family), mixed()
    full = Engine(bank).generate(requests)
    stops = (full[0].text[5:8], full[3].text[2:3])
    found = Engine(bank).generate([Request(r.prompt, r.composition, NEW, stop=stops) for r in requests])
    for whole, short in zip(full, found, strict=True):
        places = [whole.text.find(stop) for stop in stops if stop in whole.text]
        assert short.finish == ("stop" if places else "length")
        assert short.text == whole.text[: min(places, default=None)]
        assert bank.base.tokenizer.decode(short.tokens, skip_special_tokens=True) == short.text
    assert {c.finish for c in found} == {"stop", "length"}


def test_length_ends_at_the_models_positions():
    for family in ("gpt2", "gpt_neo", "llama"):
        bank = tiny_bank(family)
        [completion] = Engine(bank).generate([Request([5] * 250, max_new_tokens=64)])
        assert (len(completion.tokens), completion.finish) == (6, "length")


def test_little_cache_means_fewer_rows(llama):
    requests = mixed()
    each = 2 * 2 * 2 * 8 * 4 * max(len(r.prompt) + NEW for r in requests)
    assert Engine(llama, max_cache_bytes=2 * each).generate(requests) == Engine(llama).generate(requests)
    with pytest.raises(ConfigError, match=r"max_cache_bytes: 1000 .* needs at least \d+"):
        Engine(llama, max_cache_bytes=1000).generate(requests)


def test_mistakes_are_one_line(llama):
    assert settle(llama.base).path == "shared"
    with pytest.raises(DataError, match="request 1: 256 tokens; llama has 256 positions, so at most 255"):
        Engine(llama).generate([Request([5]), Request([5] * 256)])
    with pytest.raises(DataError, match="no tokens"):
        Request([])
    with pytest.raises(AdapterError, match="no adapter 'z'"):
        Engine(llama).generate([Request([5], compose("z"))])
    with pytest.raises(ConfigError, match="max_new_tokens: 0"):
        Request([5], max_new_tokens=0)
    with pytest.raises(ConfigError, match="max_rows: 0"):
        Engine(llama, max_rows=0)
    assert Engine(llama).generate([]) == []


def test_progress_counts_every_request(llama):
    from tenfold.progress import SILENT

    class Counter(type(SILENT.start("", 0, ""))):
        done = 0

        def advance(self, amount=1):
            self.done += amount

    class Watch:
        def start(self, what, total, unit):
            self.total, self.task = total, Counter()
            return self.task

        def note(self, text): ...

    watch = Watch()
    Engine(llama, max_rows=3).generate(mixed(new=3), watch)
    assert watch.task.done == watch.total == ROWS


@pytest.mark.real
def test_real_model_gives_what_transformers_gives(smollm2):
    from tenfold.adapters import Bank

    texts = ["The capital of France is", "Once upon a time, in a small village,", "def add(a, b):\n", "Water boils at",
             "The capital of France", "A list of colours:\n- red\n- "]  # fmt: skip
    bank = Bank(smollm2)
    requests = [Request(smollm2.tokenizer(text)["input_ids"], max_new_tokens=24) for text in texts]
    assert ties(bank, requests, Engine(bank).generate(requests)) == 0
