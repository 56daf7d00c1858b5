"""Full finetuning: the base itself learns. And recomputed activations, which change no number."""

import json

import lanes
import pytest
import torch
import transformers
from peer import fill, tiny_base
from test_resume import Press, results
from tiny import tiny_config, tiny_model
from tokens import tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

import tenfold
from tenfold import training
from tenfold.adapters import BASE, Bank, compose
from tenfold.adapters.lora import Config
from tenfold.base.head import checkpointing
from tenfold.base.model import Base
from tenfold.base.probe import settle
from tenfold.errors import TenfoldError
from tenfold.training import passes
from tenfold.training.passes import Part

SETS = [lanes.ragged(5, seed=1, prefix=8), lanes.ragged(4, seed=2, prefix=5, everything=True)]
FULL = {"adapter": "full", "lora_r": None}
PLAIN = {"lora_dropout": None, "lora_r": None, "num_epochs": None}  # of the task sums: the base is trained once for all


def tied_llama():
    config = tiny_config("llama")
    config.tie_word_embeddings = True
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()


MODELS = {
    "llama": tiny_model,
    "llama, tied": tied_llama,
    "gpt2": lambda: tiny_model("gpt2"),
    "gemma2": lambda: tiny_model("gemma2"),
    "gpt_neo": lambda: tiny_model("gpt_neo"),
    "bloom": lambda: tiny_model("bloom"),
}


def parts(*compositions):
    count = sum(sum(row.supervised[1:]) for rows in SETS for row in rows)
    return [Part(0, composition, rows, 1 / count) for composition, rows in zip(compositions, SETS, strict=True)]


def base_gradients(model):
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_every_parameter_of_the_base_gets_the_plain_gradient(make):
    plain = make().requires_grad_(True)
    loss = lanes.plain_loss(plain, [row for rows in SETS for row in rows])
    loss.backward()
    wanted = base_gradients(plain)

    model = make().requires_grad_(True)
    outcome = passes.run(Bank(Base(model, tiny_tokenizer(), "tiny", "")), parts(BASE, BASE))
    assert outcome.losses[0] == pytest.approx(loss.item(), rel=1e-5)
    found = base_gradients(model)
    assert found.keys() == wanted.keys() == dict(model.named_parameters()).keys()
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert tied == ("lm_head.weight" not in found)
    lanes.close(found, wanted)


def recomputed(family, full):
    """Gradients with and without kept activations, and how often a layer ran in each."""
    found = []
    for wanted in (False, True):
        bank = Bank(tiny_base(family))
        bank.add("a", "lora", Config(lora_r=3, lora_dropout=0.0 if full else 0.1), seed=0)
        fill(bank.parameters("a").values(), 0, 0.05)
        model, runs = bank.base.model, []
        if full:
            model.requires_grad_(True)
        else:
            lanes.require_gradients(bank, "a")
        layers = [m for m in model.modules() if isinstance(m, transformers.modeling_layers.GradientCheckpointingLayer)]
        norm = next(m for name, m in layers[-1].named_modules() if "norm" in name or "ln_1" in name)
        norm.register_forward_hook(lambda *_, runs=runs: runs.append(1))
        noise = None if full else (0, 3)
        own = [
            Part(p.lane, p.composition, p.rows, p.share, noise) for p in parts(*[BASE if full else compose("a")] * 2)
        ]
        settle(bank.base)
        with checkpointing(model, wanted):
            runs.clear()
            outcome = passes.run(bank, own)
        gradients = base_gradients(model) if full else lanes.take_gradients(bank, "a")
        found.append((outcome, gradients, len(runs)))
        assert not model.training
        assert not any(module.training for module in model.modules())
    return found


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_recomputing_activations_changes_no_gradient(family, full):
    (kept, wanted, once), (computed, found, twice) = recomputed(family, full)
    assert kept == computed
    lanes.same_bits(found, wanted)
    assert twice == once + 1


def test_a_full_run_leaves_a_model_that_transformers_loads(project):
    config = project(**FULL, sums=PLAIN)
    finished = training.run(config)
    folder, trained = finished.run.folder.path, finished.run.bank.base.model
    plain = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32).eval()
    ids = torch.randint(3, 97, (2, 9))
    with torch.no_grad():
        wanted = trained(input_ids=ids).logits
        assert torch.equal(plain(input_ids=ids).logits, wanted)
        before = (
            AutoModelForCausalLM.from_pretrained(config.base_model, dtype=torch.float32).eval()(input_ids=ids).logits
        )
    assert (before - wanted).abs().max() > 0.01
    assert (
        AutoTokenizer.from_pretrained(folder / "base")("ab -> AB")["input_ids"]
        == tiny_tokenizer()("ab -> AB")["input_ids"]
    )
    assert not (folder / "adapters").exists()
    losses = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [one["step"] for one in losses if "loss" in one] == [1, 2, 3, 4, 5, 6]
    assert {one["adapter"] for one in losses} == {"base"}


def test_results_of_a_full_run_stand_before_and_after(project):
    finished = training.run(project(**FULL, sums=PLAIN, learning_rate=0.003, steps=12))
    loss = {one.adapter: one for one in finished.results if (one.task, one.metric) == ("upper", "loss")}
    assert loss.keys() == {"base", "full"}
    assert loss["full"].value < loss["base"].value - 0.1
    assert loss["full"].comparison.difference < 0
    folder = finished.run.folder.path
    assert {path.name for path in (folder / "cases").iterdir()} >= {"upper.base.jsonl", "upper.full.jsonl"}


def test_a_full_run_is_opened_with_what_it_trained(project):
    finished = training.run(project(**FULL, sums=PLAIN))
    run = tenfold.load(finished.run.folder.path)
    ids = torch.randint(3, 97, (1, 7))
    with torch.no_grad():
        assert torch.equal(
            run.bank.base.model(input_ids=ids).logits, finished.run.bank.base.model(input_ids=ids).logits
        )
    assert len(run.generate(["zz"], "base", task="upper")) == 1


def test_measuring_a_full_run_again_keeps_what_stood_before(project):
    folder = training.run(project(**FULL, sums=PLAIN)).run.folder.path
    before = results(folder)
    tenfold.load(folder).evaluate()
    assert results(folder) == before


def test_a_full_run_is_resumed_to_the_same_weights(project):
    whole = training.run(project("whole", **FULL, sums=PLAIN)).run.bank.base.model.state_dict()
    config = project("stopped", **FULL, sums=PLAIN)
    assert training.run(config, progress=Press(3)).interrupted
    resumed = training.run(config, resume=True)
    lanes.same_bits(resumed.run.bank.base.model.state_dict(), whole)
    assert {one.adapter for one in resumed.results} == {"base", "full"}


def test_tasks_of_a_full_run_weigh_what_they_are_said_to(project):
    """With all weight on one task its loss falls more."""
    found = []
    for name, weight in (("light", 0.001), ("heavy", 1000.0)):
        settings = {**FULL, "sums": PLAIN, "steps": 12, "learning_rate": 0.003}
        results = training.run(project(name, **settings, upper={"weight": weight})).results
        found += [one.value for one in results if (one.task, one.adapter, one.metric) == ("upper", "full", "loss")]
    assert found[1] < found[0] - 0.1


def test_recomputing_while_validating_and_evaluating(project):
    plain = training.run(project("plain"))
    computed = training.run(project("computed", gradient_checkpointing=True))
    for name in ("upper", "sums"):
        lanes.same_bits(lanes.weights(computed.run.bank, name), lanes.weights(plain.run.bank, name))
    assert [one.value for one in computed.results] == [one.value for one in plain.results]


def test_an_adapter_under_a_base_that_trains_is_refused(project):
    with pytest.raises(TenfoldError, match=r"tasks\.upper\.adapter_path: with adapter full") as caught:
        training.run(project(**FULL, sums=PLAIN, upper={"adapter_path": "."}))
    assert "\n" not in str(caught.value)
