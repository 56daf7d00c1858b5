"""What another adapter costs on one base: load, activate, merge, restore, and the answer after that; PEFT beside it.

    python benchmarks/swap.py [--rounds 15] [--smoke]

Both read the same files of LoRA r=8 on all linear layers (about 10 MB on SmolLM2-135M), each on a base of its own
that holds two adapters already. Every round does everything with one and then with the other, in changing order;
the first round warms up. What a number includes stands in INCLUDES.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import record
import torch
import transformers
from cases import BASE_MODEL
from peft import PeftModel
from torch import Tensor

from tenfold import base, store
from tenfold.adapters import Bank, Frame, Segment, compose
from tenfold.adapters.lora import Config
from tenfold.adapters.merging import merged
from tenfold.base import Base
from tenfold.generate import Engine, Request
from tenfold.store import card

NAMES = ("a", "b", "c")
SIDES = ("tenfold", "peft")
RANK, SPREAD = 8, 0.01
PROMPT = "Once upon a time there was a small island with a lighthouse, and in it lived"
INCLUDES = {
    "load": "settings and tensors from the disk's cache, checked, into the base beside two other adapters",
    "load, lean": "the same; PEFT with low_cpu_mem_usage=True",
    "first answer": "activating what was just loaded, and an answer of few tokens: the file's pages are touched here",
    "remove": "taking it out again",
    "activate": "another adapter for the next pass: bank.use(frame) entered and left, and PEFT's set_adapter",
    "answer": "activating another adapter, and an answer of as many tokens",
    "merge": "W + dW in all layers of the base",
    "restore": "the base as it was: tenfold puts the old tensors back, PEFT subtracts dW",
}
Times = dict[str, list[float]]


class Side(ABC):
    """One library's way, with adapters a and b in memory."""

    @abstractmethod
    def load(self, folder: Path, *, lean: bool) -> None:
        """Adapter c from its folder."""

    @abstractmethod
    def remove(self) -> None:
        """Adapter c out of memory."""

    @abstractmethod
    def activate(self, name: str) -> None:
        """The next pass uses this one."""

    @abstractmethod
    def answer(self, name: str) -> list[int]:
        """Activate an adapter; the tokens that it says."""

    @abstractmethod
    def merge(self) -> None:
        """Adapter a into the base's weights."""

    @abstractmethod
    def restore(self) -> None:
        """The weights as they were."""

    @abstractmethod
    def weights(self) -> list[Tensor]:
        """Of the layers under the adapters, in the model's order."""


class Tenfold(Side):
    """A bank, and the engine for answers."""

    def __init__(self, loaded: Base, folder: Path, prompt: list[int], new: int) -> None:
        self.bank, self.prompt, self.new = Bank(loaded), prompt, new
        self.block: AbstractContextManager[None]
        for name in ("a", "b"):
            store.load(self.bank, folder / name)

    def load(self, folder: Path, *, lean: bool) -> None:
        store.load(self.bank, folder / "c")

    def remove(self) -> None:
        self.bank.remove("c")

    def activate(self, name: str) -> None:
        with self.bank.use(Frame([Segment(0, len(self.prompt), compose(name))])):
            pass

    def answer(self, name: str) -> list[int]:
        return Engine(self.bank).generate([Request(self.prompt, compose(name), self.new)])[0].tokens

    def merge(self) -> None:
        self.block = merged(self.bank, "a")
        self.block.__enter__()

    def restore(self) -> None:
        self.block.__exit__(None, None, None)

    def weights(self) -> list[Tensor]:
        return [self.bank.frozen[layer].weight for layer in self.bank.get("a").modules]


class Peft(Side):
    """PeftModel, and transformers' generate for answers."""

    def __init__(self, loaded: Base, folder: Path, prompt: list[int], new: int) -> None:
        self.model = PeftModel.from_pretrained(loaded.model, folder / "a", adapter_name="a")
        self.model.load_adapter(folder / "b", "b")
        self.model.eval()
        self.prompt, self.new = torch.tensor([prompt]), new

    def load(self, folder: Path, *, lean: bool) -> None:
        self.model.load_adapter(folder / "c", "c", low_cpu_mem_usage=lean)

    def remove(self) -> None:
        self.model.delete_adapter("c")

    def activate(self, name: str) -> None:
        self.model.set_adapter(name)

    def answer(self, name: str) -> list[int]:
        self.model.set_adapter(name)
        with torch.inference_mode():
            out = self.model.generate(
                input_ids=self.prompt, attention_mask=torch.ones_like(self.prompt), do_sample=False,
                max_new_tokens=self.new, eos_token_id=-1, pad_token_id=0,
            )  # fmt: skip
        return out[0, self.prompt.shape[1] :].tolist()

    def merge(self) -> None:
        self.model.merge_adapter(["a"])

    def restore(self) -> None:
        self.model.unmerge_adapter()

    def weights(self) -> list[Tensor]:
        return [module.base_layer.weight for module in self.model.modules() if hasattr(module, "base_layer")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and keep ``results/swap.json``."""
    options = parse(arguments)
    transformers.logging.set_verbosity_error()
    bases = [base.load(options.base_model) for _ in SIDES]
    prompt = bases[0].tokenizer(PROMPT).input_ids
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_adapters(bases[0], folder)
        size = (folder / "c" / "adapter_model.safetensors").stat().st_size
        ways = {"tenfold": Tenfold, "peft": Peft}
        sides = {
            name: ways[name](loaded, folder, prompt, options.new) for name, loaded in zip(SIDES, bases, strict=True)
        }
        pristine = {name: [weight.detach().clone() for weight in side.weights()] for name, side in sides.items()}
        same = sides["tenfold"].answer("a") == sides["peft"].answer("a")
        times = measure(sides, folder, options.rounds)
    results = {
        "adapter_megabytes": size / 1e6,
        "new_tokens_of_an_answer": options.new,
        "rounds": options.rounds,
        "same_tokens": same,
        "milliseconds": [line(what, {name: times[name][what] for name in SIDES}) for what in INCLUDES],
        "base_after_merging_and_restoring": [
            {"library": name, **changed(pristine[name], side.weights())} for name, side in sides.items()
        ],
        "what_each_includes": [{"operation": what, "includes": text} for what, text in INCLUDES.items()],
    }
    print(json.dumps(results, indent=2))
    if not options.smoke:
        print(record.record("swap", results, "python benchmarks/swap.py"))
    return 0


def write_adapters(loaded: Base, folder: Path) -> None:
    """Adapters that differ, each in a folder that both libraries read."""
    bank = Bank(loaded)
    for seed, name in enumerate(NAMES):
        bank.add(name, "lora", Config(lora_r=RANK, lora_alpha=2 * RANK), seed=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in bank.parameters(name).values():
                parameter.normal_(std=SPREAD, generator=generator)
        store.save(bank, name, folder / name, card.describe(loaded))
        bank.remove(name)


def measure(sides: dict[str, Side], folder: Path, rounds: int) -> dict[str, Times]:
    """Seconds of every operation, by library."""
    found: dict[str, Times] = {name: {what: [] for what in INCLUDES} for name in sides}
    for number in range(rounds + 1):
        for name in sorted(sides, reverse=bool(number % 2)):
            for what, seconds in one_round(sides[name], folder).items():
                found[name][what].append(seconds)
    return {name: {what: seconds[1:] for what, seconds in own.items()} for name, own in found.items()}


def one_round(side: Side, folder: Path) -> dict[str, float]:
    """Everything once; what stands between is not counted."""
    found = {"load, lean": seconds(lambda: side.load(folder, lean=True))}
    side.remove()
    found["load"] = seconds(lambda: side.load(folder, lean=False))
    found["first answer"] = seconds(lambda: side.answer("c"))
    side.activate("b")
    found["remove"] = seconds(side.remove)
    found["activate"] = seconds(lambda: side.activate("a"))
    side.activate("b")
    found["answer"] = seconds(lambda: side.answer("a"))
    found["merge"] = seconds(side.merge)
    found["restore"] = seconds(side.restore)
    return found


def seconds(job: Callable[[], Any]) -> float:
    """How long a job takes."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def line(what: str, times: dict[str, list[float]]) -> dict[str, float | str]:
    """Milliseconds: median and quartiles of both, and how many times as long PEFT takes."""
    found: dict[str, float | str] = {"operation": what}
    for name, own in times.items():
        low, middle, high = (1000 * value for value in statistics.quantiles(own, n=4, method="inclusive"))
        found |= {name: middle, f"{name}_q1": low, f"{name}_q3": high}
    ratio = statistics.median(times["peft"]) / statistics.median(times["tenfold"])
    return found | {"peft_over_tenfold": ratio}


def changed(before: list[Tensor], after: list[Tensor]) -> dict[str, float | int]:
    """How many weights are not what they were, bit for bit, and by how much."""
    gaps = [float((a - b).abs().max()) for a, b in zip(before, after, strict=True)]
    return {"matrices": len(gaps), "changed": sum(gap > 0 for gap in gaps), "largest_change": max(gaps)}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options; --smoke is two rounds and keeps nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds")
    parser.add_argument("--new", type=int, default=8, help="tokens of an answer")
    parser.add_argument("--base-model", default=BASE_MODEL)
    parser.add_argument("--smoke", action="store_true", help="2 rounds, nothing kept")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.rounds, options.new = 2, 3
    return options


if __name__ == "__main__":
    sys.exit(main())
