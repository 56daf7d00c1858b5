"""Every kind of adapter beside LoRA of the same size, and beside PEFT's own where PEFT has it.

    python benchmarks/adapters.py --data DIR [--rounds 4] [--smoke]

DIR has mnli/train.jsonl. LoRA has r=16 on all linear layers; the others have, as near as their rank or width
allows, as many parameters ((IA)^3 has no such setting). Training: one optimizer step with one adapter, and one
with four that share the rows in one pass. Inference: requests to four adapters decoded together. Beside PEFT: the
same steps on a padded batch, with losses compared, and single layers on the same tokens (layers.py). Everything
is measured in turns, ratios within a round; the first round warms up.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cases
import layers
import mixed
import ours
import record
import torch
import transformers
import usual
from peft import PeftModel
from transformers import DataCollatorForSeq2Seq

from tenfold import base, plugins, store, tasks
from tenfold.adapters import BASE, Bank, compose, sizes
from tenfold.base.layout import Row
from tenfold.config import Config
from tenfold.generate import Engine, Request
from tenfold.store import card
from tenfold.training import optim
from tenfold.training.loop import State

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lora", {"lora_r": 16, "lora_alpha": 32}),
    "lora, pissa": ("lora", {"lora_r": 16, "lora_alpha": 32, "peft_init_lora_weights": "pissa_niter_4"}),
    "dora": ("dora", {"lora_alpha": 32}),
    "ia3": ("ia3", {}),
    "fff": ("fff", {}),
    "bottleneck": ("bottleneck", {}),
}
PEERS = ("lora", "dora", "ia3")
ALL = "all kinds together"
COPIES = 4
TOLERANCE = 1e-3
Job = Callable[[], float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and keep ``results/adapters.json``; exit code 1 where losses differ."""
    options = parse(arguments)
    transformers.logging.set_verbosity_error()
    config = cases.make("linear", options.data, batch=max(options.batch, options.requests), steps=1,
                        base_model=options.base_model)  # fmt: skip
    bank = Bank(base.load(config.base_model))
    table = fill(bank)
    rows = ours.encode(config, bank.base)[cases.TASK][: options.batch]
    training = Training(config, bank, rows, options.rounds + 1)
    times = mixed.in_turns({**training.jobs(), **inference(config, bank, options)}, options.rounds)
    apart = {name: found for name, found in training.differences().items() if not found <= TOLERANCE}
    if apart:
        print(f"losses differ by more than {TOLERANCE:g}: {apart}", file=sys.stderr)
        return 1
    results = {
        "rows_per_step": len(rows), "requests": options.requests, "new_tokens_of_a_request": options.new,
        "kinds": kinds(table, times), "beside_peft": peers(times, training.differences()),
        "single_layers": layers.compare(options.tokens, options.layer_rounds),
    }  # fmt: skip
    print(json.dumps(results, indent=2))
    if not options.smoke:
        print(record.record("adapters", results, "python benchmarks/adapters.py --data DIR"))
    return 0


def fill(bank: Bank) -> dict[str, dict[str, Any]]:
    """Put the adapters of every kind into the bank, one by itself and those that share -> what is said of each."""
    table: dict[str, dict[str, Any]] = {}
    for name, (kind, settings) in KINDS.items():
        module = plugins.find("tenfold.adapters", kind)
        config = module.Config(**settings)
        if table and module.BUDGET not in (None, *settings):
            config, _ = sizes.matched(bank.base.model, kind, config, table["lora"]["parameters"])
        for seed, own in enumerate(members(name)):
            bank.add(own, kind, config, seed=seed)
        size = f"{module.BUDGET} = {getattr(config, module.BUDGET)}" if module.BUDGET else ""
        table[name] = {"kind": name, "size": size, "parameters": bank.get(members(name)[0]).size}
    return table


def members(name: str) -> list[str]:
    """The adapters of a kind: the one by itself, and then those that share a batch."""
    plain = name.replace(", ", "_")
    return [f"{plain}_alone", *(f"{plain}_{i}" for i in range(COPIES))]


def shared(name: str) -> list[str]:
    """The adapters that share a batch: of one kind, or the first of each."""
    return [members(one)[1] for one in KINDS] if name == ALL else members(name)[1:]


class Training:
    """Optimizer steps over the same rows, each round of every kind. steps: of each of them."""

    def __init__(self, config: Config, bank: Bank, rows: list[Row], steps: int) -> None:
        self.config, self.bank, self.rows = config, bank, rows
        self.states = {f"{name} alone": self.share([members(name)[0]], steps) for name in KINDS}
        self.states |= {f"{name} mixed": self.share(shared(name), steps) for name in (*KINDS, ALL)}
        self.losses: dict[str, list[float]] = {job: [] for job in self.states}
        self.peers = {name: Peer(config, bank, name, rows, self.states[f"{name} alone"]) for name in PEERS}

    def share(self, names: list[str], steps: int) -> State:
        """A stage in which these share the rows out."""
        own = {name: self.rows[i :: len(names)] for i, name in enumerate(names)}
        return ours.share(self.config, self.bank, own, steps, mixed=True)

    def jobs(self) -> dict[str, Job]:
        """By name, what is to be timed; PEFT's steps stand behind tenfold's own."""
        found: dict[str, Job] = {}
        for name in self.states:
            found[name] = lambda name=name: self.step(name)  # type: ignore[misc]
            if (kind := name.removesuffix(" alone")) in self.peers:
                found[f"{kind} peft"] = self.peers[kind].step
        return found

    def step(self, name: str) -> float:
        """Seconds of one step."""
        ours.focus(self.states[name])
        start = time.perf_counter()
        losses = ours.step(self.states[name], ours.Log())
        seconds = time.perf_counter() - start
        self.losses[name].append(sum(losses.values()))
        return seconds

    def differences(self) -> dict[str, float]:
        """The largest relative difference of a loss from PEFT's, by kind."""
        return {
            name: max(abs(a - b) / abs(b) for a, b in zip(self.losses[f"{name} alone"], peer.losses, strict=True))
            for name, peer in self.peers.items()
        }


class Peer:
    """PEFT's own adapter with the same first numbers, trained on one padded batch as the usual loop does it."""

    def __init__(self, config: Config, bank: Bank, name: str, rows: list[Row], state: State) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store.save(bank, members(name)[0], Path(folder) / "adapter", card.describe(bank.base))
            model = base.load(config.base_model).model
            self.model = PeftModel.from_pretrained(model, Path(folder) / "adapter", is_trainable=True).train()
        collator = DataCollatorForSeq2Seq(bank.base.tokenizer, padding="longest", label_pad_token_id=-100)
        self.batch = collator([usual.features(row) for row in rows])
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.training = state.stage.lanes[0].training
        self.optimizer = torch.optim.AdamW(
            self.parameters, self.training.learning_rate, weight_decay=self.training.weight_decay, fused=True
        )
        self.losses: list[float] = []

    def step(self) -> float:
        """Seconds of one step."""
        start = time.perf_counter()
        loss = self.model(**self.batch).loss
        loss.backward()
        optim.clip(self.parameters, self.training.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        seconds = time.perf_counter() - start
        self.losses.append(float(loss.detach()))
        return seconds


def inference(config: Config, bank: Bank, options: argparse.Namespace) -> dict[str, Job]:
    """By name, the seconds of requests shared out among adapters and decoded together."""
    task = tasks.load(cases.TASK, config.task(cases.TASK).task, config.folder)
    prompts = [tasks.prompt_tokens(one.prompt, bank.base.coding) for one in task.train[: options.requests]]
    uses = {name: [compose(one) for one in shared(name)] for name in (*KINDS, ALL)} | {"base": [BASE]}

    def run(name: str) -> float:
        own = uses[name]
        requests = [Request(prompt, own[i % len(own)], options.new) for i, prompt in enumerate(prompts)]
        start = time.perf_counter()
        Engine(bank, max_rows=len(prompts)).generate(requests)
        return time.perf_counter() - start

    return {f"{name} inference": lambda name=name: run(name) for name in uses}  # type: ignore[misc]


def kinds(table: dict[str, dict[str, Any]], times: mixed.Times) -> list[dict[str, Any]]:
    """A line for each kind, each time beside LoRA's of the same round."""
    lines = [*table.values(), {"kind": ALL}, {"kind": "base"}]
    return [{**line, **_times(str(line["kind"]), times)} for line in lines]


def _times(name: str, times: mixed.Times) -> dict[str, float]:
    found = {}
    for part, words in (("alone", "step"), ("mixed", "mixed_step"), ("inference", "inference")):
        if seconds := times.get(f"{name} {part}"):
            found[f"{words}_seconds"] = median(seconds)
            found[f"{words}_over_lora"] = _ratio(seconds, times[f"lora {part}"])
    return found


def peers(times: mixed.Times, apart: dict[str, float]) -> list[dict[str, Any]]:
    """A line for each kind that PEFT has: whole steps."""
    return [
        {
            "kind": name,
            "peft_step_seconds": median(times[f"{name} peft"]),
            "tenfold_step_seconds": median(times[f"{name} alone"]),
            "peft_over_tenfold": _ratio(times[f"{name} peft"], times[f"{name} alone"]),
            "largest_loss_difference": apart[name],
        }
        for name in PEERS
    ]


def _ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    return median(a / b for a, b in zip(seconds, others, strict=True))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options; --smoke is tiny and keeps nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("examples/data"), help="folder with mnli/train.jsonl")
    parser.add_argument("--rounds", type=int, default=4, help="timed rounds")
    parser.add_argument("--batch", type=int, default=8, help="rows of a training step")
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--new", type=int, default=9, help="new tokens of each request")
    parser.add_argument("--tokens", type=int, default=800, help="tokens of a pass through a single layer")
    parser.add_argument("--layer-rounds", type=int, default=41, help="timed passes through a single layer")
    parser.add_argument("--base-model", default=cases.BASE_MODEL)
    parser.add_argument("--smoke", action="store_true", help="few rows, 1 round, nothing kept")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.rounds, options.batch, options.requests, options.new = 1, 6, 6, 3
        options.tokens, options.layer_rounds = 12, 2
    return options


if __name__ == "__main__":
    sys.exit(main())
