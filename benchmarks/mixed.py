"""What one more adapter in a batch costs: the same rows shared out among 1, 2, 4 and 8 adapters.

    python benchmarks/mixed.py --data DIR [--rounds 5] [--smoke]

DIR has mnli/train.jsonl. The adapters have r=16 on all linear layers. Training: one optimizer step over the
rows, all adapters in one pass and by turns. Inference: the prompts of as many requests, and then decoding.
Everything is measured in turns, one round after the other; the first round warms up.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import cases
import ours
import record

from tenfold import base, tasks
from tenfold.adapters import BASE, Bank, Composition, compose
from tenfold.base.layout import Row
from tenfold.config import Config
from tenfold.generate import Engine, Request

COUNTS = (1, 2, 4, 8)
Times = dict[str, list[float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and keep ``results/mixed.json``."""
    options = parse(arguments)
    most = max(options.batch, options.requests)
    config = cases.make("linear", options.data, batch=most, steps=1, base_model=options.base_model)
    bank = Bank(base.load(config.base_model))
    own = config.task(cases.TASK).adapters[cases.TASK]
    for i in range(max(COUNTS)):
        bank.add(f"a{i}", own.kind, own.settings, seed=i)
    rows = ours.encode(config, bank.base)[cases.TASK]
    results = {
        "rows_per_step": options.batch,
        "training": training(bank, config, rows[: options.batch], options.rounds),
        "requests": options.requests,
        "new_tokens_of_a_request": options.new,
        "inference": inference(bank, config, options),
    }
    print(json.dumps(results, indent=2))
    if not options.smoke:
        print(record.record("mixed", results, "python benchmarks/mixed.py --data DIR"))
    return 0


def training(bank: Bank, config: Config, rows: Sequence[Row], rounds: int) -> list[dict[str, float]]:
    """Seconds of an optimizer step over the same rows, by the number of adapters."""
    ways = {"mixed": True, "by_turns": False}
    states = {
        f"{count} {way}": ours.share(config, bank, _shares(rows, count), rounds + 1, mixed=mixed)
        for count in COUNTS
        for way, mixed in ways.items()
    }
    logs = {name: ours.Log() for name in states}

    def run(name: str) -> float:
        ours.focus(states[name])
        start = time.perf_counter()
        ours.step(states[name], logs[name])
        return time.perf_counter() - start

    times = in_turns({name: lambda name=name: run(name) for name in states}, rounds)
    found = {name: median(seconds) for name, seconds in times.items()}
    return [
        {
            "adapters": count,
            **{f"{way}_seconds": found[f"{count} {way}"] for way in ways},
            "mixed_over_one_adapter": found[f"{count} mixed"] / found["1 mixed"],
            "tokens_of_the_mixed_pass": logs[f"{count} mixed"].records[0]["pass_tokens"],
        }
        for count in COUNTS
    ]


def _shares(rows: Sequence[Row], count: int) -> dict[str, list[Row]]:
    """The rows shared out among adapters a0, a1, ..."""
    return {f"a{i}": list(rows[i::count]) for i in range(count)}


def inference(bank: Bank, config: Config, options: argparse.Namespace) -> list[dict[str, float | str]]:
    """Seconds of prefill and of a decoding step with the base alone and with more and more adapters."""
    task = tasks.load(cases.TASK, config.task(cases.TASK).task, config.folder)
    prompts = [tasks.prompt_tokens(one.prompt, bank.base.coding) for one in task.train[: options.requests]]
    shares: dict[str, list[Composition]] = {"base": [BASE]}
    shares |= {f"{count}": [compose(f"a{i}") for i in range(count)] for count in COUNTS}

    def run(name: str, new: int) -> float:
        own = shares[name]
        requests = [Request(prompt, own[i % len(own)], new) for i, prompt in enumerate(prompts)]
        start = time.perf_counter()
        Engine(bank, max_rows=len(prompts)).generate(requests)
        return time.perf_counter() - start

    lengths = {"prefill": 1, "whole": options.new}
    jobs = {f"{s} {part}": lambda s=s, new=new: run(s, new) for s in shares for part, new in lengths.items()}
    found = {name: median(seconds) for name, seconds in in_turns(jobs, options.rounds).items()}
    steps = options.new - 1
    each = {s: (found[f"{s} whole"] - found[f"{s} prefill"]) / steps for s in shares}
    return [
        {
            "adapters": name,
            "prefill_seconds": found[f"{name} prefill"],
            "decoding_step_milliseconds": 1000 * each[name],
            "decoded_tokens_per_second": len(prompts) / each[name],
            "decoding_over_base": each[name] / each["base"],
        }
        for name in shares
    ]


def in_turns(jobs: dict[str, Callable[[], float]], rounds: int) -> Times:
    """Every job once a round; the first round is thrown away."""
    found: Times = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            found[name].append(job())
            print(f"round {number}: {name} {found[name][-1]:.2f} s", flush=True)
    return {name: seconds[1:] for name, seconds in found.items()}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options; --smoke is tiny and keeps nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("examples/data"), help="folder with mnli/train.jsonl")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds")
    parser.add_argument("--batch", type=int, default=16, help="rows of a training step")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--new", type=int, default=33, help="new tokens of each request")
    parser.add_argument("--base-model", default=cases.BASE_MODEL)
    parser.add_argument("--smoke", action="store_true", help="8 rows, 1 round, nothing kept")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.rounds, options.batch, options.requests, options.new = 1, 8, 8, 3
    return options


if __name__ == "__main__":
    sys.exit(main())
