"""What holding the base in few bits saves and costs: bytes, training, accuracy and decoding.

    python benchmarks/quantised.py --data DIR [--compiled] [--smoke]

DIR has mnli/*.jsonl. Each of tenfold's own bases trains the same LoRA on the same rows in a process of its own; then
all bases, and int8 ways that tenfold does not offer, decode the same prompts turn by turn in one process. torchao's
are among them where it is installed (``pip install --target FOLDER torchao``, then PYTHONPATH=FOLDER).
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import bits
import cases
import memory
import mixed
import ours
import record
import transformers

from tenfold import base, runs, tasks
from tenfold.adapters import BASE, Bank, Composition, compose
from tenfold.base.layout import Row
from tenfold.base.probe import settle
from tenfold.config import Config
from tenfold.errors import ModelError
from tenfold.generate import Engine, Request, score

WARM_UP = 1
BATCHES = (1, 16)
RESET = Path("/proc/self/clear_refs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and keep ``results/quantised.json``; with --train one base's training, as JSON."""
    options = parse(arguments)
    transformers.logging.set_verbosity_error()
    if options.train:
        print(json.dumps(train(options.train, options)))
        return 0
    results = {
        "training": {name: _apart(name, arguments) for name in bits.OWN},
        "decoding": decoding(options),
        "training_rows_per_step": options.batch,
        "training_steps": options.steps,
        "held_out_rows": options.rows,
        "new_tokens_of_a_request": options.new,
    }
    print(json.dumps(results, indent=2))
    if not options.smoke:
        compiled = " --compiled" if options.compiled else ""
        print(record.record("quantised", results, f"python benchmarks/quantised.py --data DIR{compiled}"))
    return 0


def _apart(name: str, arguments: Sequence[str] | None) -> dict[str, float]:
    given = [*(sys.argv[1:] if arguments is None else arguments), "--train", name]
    done = subprocess.run([sys.executable, __file__, *given], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"training on {name}: {found}", flush=True)
    return found


def train(name: str, options: argparse.Namespace) -> dict[str, float]:
    """One base in this process: its bytes, seconds and peak memory of a step, and a fixed loss before and after."""
    config = make_config(options)
    bank = Bank(base.load(config.base_model, quantization=bits.OWN[name]))
    size, steps = bits.size(bank.base), options.steps + WARM_UP
    rows = ours.encode(config, bank.base)[cases.TASK]
    trained, held = rows[: options.batch * steps], rows[options.batch * steps :]
    state, log = ours.begin(config, bank, {cases.TASK: trained}), ours.Log()
    before = loss(bank, held, BASE)
    if RESET.exists():  # from here on the most memory is that of training
        RESET.write_text("5")
    for _ in range(steps):
        ours.step(state, log)
    peak = memory.peak()
    return {
        "base_megabytes": size / 2**20,
        "seconds_per_step": median(one["seconds"] for one in log.records[WARM_UP:]),
        "peak_megabytes_in_training": peak / 2**20,
        "loss_before": before,
        "loss_after": loss(bank, held, compose(cases.TASK)),
    }


def make_config(options: argparse.Namespace) -> Config:
    """Rows to train on and, behind them, those to measure by; LoRA of rank 16 on all linear layers."""
    steps = options.steps + WARM_UP
    rows = options.batch * steps + options.rows
    return cases.make(
        "linear", options.data, batch=options.batch, steps=steps, base_model=options.base_model, rows=rows
    )


def loss(bank: Bank, rows: Sequence[Row], composition: Composition) -> float:
    """Mean nats of the supervised tokens."""
    found = score(bank, [(row, composition) for row in rows])
    return -sum(one.logprob for one in found) / sum(one.tokens for one in found)


def decoding(options: argparse.Namespace) -> dict[str, dict[str, float | str]]:
    """Each base, with the same prompts: tokens a second, perplexity of plain text, and whose greedy tokens it gives."""
    config = make_config(options)
    banks = {name: Bank(bits.load(name, config.base_model)) for name in bits.names(options.compiled)}
    agrees = {name: as_alone(bank, banks[bits.FLOATS]) for name, bank in banks.items()}
    [task] = runs.load_tasks(config)
    tokenizer = banks[bits.FLOATS].base.tokenizer
    coding = banks[bits.FLOATS].base.coding
    prompts = [tasks.prompt_tokens(one.prompt, coding) for one in task.train[: max(BATCHES)]]
    texts = [tokenizer(str(one.columns["premise"]))["input_ids"] for one in task.train[-options.rows :]]
    lines = [Row(tokens, [True] * len(tokens), key) for key, tokens in enumerate(texts) if len(tokens) > 1]
    seconds, answers = steps_of(banks, prompts, options)
    first = bits.FLOATS
    return {
        name: {
            "base_megabytes": bits.size(bank.base) / 2**20,
            **{f"tokens_per_second_at_batch_{batch}": batch / seconds[name, batch] for batch in BATCHES},
            "speed_over_float32_at_batch_1": seconds[first, 1] / seconds[name, 1],
            "perplexity_of_text": math.exp(loss(bank, lines, BASE)),
            "share_of_greedy_tokens_until_first_other": same_start(answers[name], answers[first]),
            "rows_as_alone": agrees[name],
        }
        for name, bank in banks.items()
    }


def steps_of(
    banks: Mapping[str, Bank], prompts: Sequence[list[int]], options: argparse.Namespace
) -> tuple[dict[tuple[str, int], float], dict[str, list[list[int]]]]:
    """Median seconds of one decoding step by base and batch, prefill taken off, and the tokens of the larger batch."""
    answers: dict[str, list[list[int]]] = {}

    def run(name: str, batch: int, new: int) -> float:
        requests = [Request(prompt, BASE, new) for prompt in prompts[:batch]]
        start = time.perf_counter()
        done = Engine(banks[name], max_rows=batch).generate(requests)
        answers[name] = [one.tokens for one in done]
        return time.perf_counter() - start

    cells = [(name, batch, new) for name in banks for batch in BATCHES for new in (1, options.new)]
    jobs = {f"{name}: {batch} by {new}": lambda cell=cell: run(*cell) for cell in cells for name, batch, new in [cell]}
    found = {
        cell: median(times) for cell, times in zip(cells, mixed.in_turns(jobs, options.rounds).values(), strict=True)
    }
    steps = options.new - 1
    each = {(n, b): (found[n, b, options.new] - found[n, b, 1]) / steps for n in banks for b in BATCHES}
    return each, answers


def as_alone(bank: Bank, floats: Bank) -> str:
    """Whether the probe finds a way in which a row gives what it gives alone; else the float base's way is taken."""
    try:
        settle(bank.base)
    except ModelError:
        bank.base.way = settle(floats.base)
        return "no"
    return "yes"


def same_start(found: Sequence[list[int]], wanted: Sequence[list[int]]) -> float:
    """The mean share of each answer's tokens before the first that differs."""
    pairs = [list(zip(a, b, strict=True)) for a, b in zip(found, wanted, strict=True)]
    return sum(next((i for i, (a, b) in enumerate(own) if a != b), len(own)) / len(own) for own in pairs) / len(pairs)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options; --smoke is tiny and keeps nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("examples/data"), help="folder with mnli/*.jsonl")
    parser.add_argument("--batch", type=int, default=8, help="rows of a training step")
    parser.add_argument("--steps", type=int, default=16, help="timed training steps")
    parser.add_argument("--rows", type=int, default=64, help="rows to measure losses by")
    parser.add_argument("--new", type=int, default=33, help="new tokens of each request")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of decoding")
    parser.add_argument("--base-model", default=cases.BASE_MODEL)
    parser.add_argument("--compiled", action="store_true", help="torchao's layers through torch.compile too")
    parser.add_argument("--train", choices=list(bits.OWN), help=argparse.SUPPRESS)
    parser.add_argument("--smoke", action="store_true", help="two steps of two rows, one round, nothing kept")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.batch, options.steps, options.rows, options.new, options.rounds = 2, 2, 16, 3, 1
    return options


if __name__ == "__main__":
    sys.exit(main())
