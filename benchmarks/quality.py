"""What an epoch on SST-2 teaches through tenfold and through plain PEFT: the same rows, order and first numbers.

    python benchmarks/quality.py --data DIR [--peer] [--smoke]

DIR has sst2/train.jsonl and sst2/test.jsonl; the settings are those of examples/sst2. Both adapters are measured
by the same code: option likelihood on the first 1000 test rows. The usual loop is slow; without --peer its
answers, which ``results/quality_cases.csv`` keeps row by row, are taken from the run before.
"""

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cases
import ours
import record
import torch
import transformers
import usual

from tenfold import base, evaluate, runs, store
from tenfold.adapters import BASE, Bank, compose
from tenfold.config import Config
from tenfold.evaluate import Item
from tenfold.statistics import compare, estimate, mean_rows, sentence
from tenfold.training.loop import State

EXAMPLE = Path(__file__).parents[1] / "examples" / "sst2" / "sst2.yaml"
TASK = "sst2"
CASES = record.RESULTS / "quality_cases.csv"
PAIRS = (("tenfold", "base"), ("peft", "base"), ("tenfold", "peft"))
Hits = dict[str, list[float]]
"""Right or wrong (1.0 or 0.0), case by case, of the base and of each adapter."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, measure, print, and keep ``results/quality.json``."""
    options = parse(arguments)
    transformers.logging.set_verbosity_error()
    config = make_config(options)
    before = None if options.peer or options.smoke else earlier(config.task(TASK).task.eval_max_rows)
    bank = Bank(base.load(config.base_model))
    state = ours.begin(config, bank, ours.encode(config, bank.base))
    torch.manual_seed(config.seed)
    seconds: dict[str, float] = {}
    if options.peer:
        seconds["peft"] = train_peer(config, state)
    seconds["tenfold"] = train(state)
    hits = measure(config, bank)
    if before:
        hits["peft"], seconds["peft"] = before
    results = summary(hits, seconds)
    print(json.dumps(results, indent=2))
    if not options.smoke:
        write_cases(hits)
        print(record.record("quality", results, "python benchmarks/quality.py --data DIR --peer"))
    return 0


def make_config(options: argparse.Namespace) -> Config:
    """The SST-2 example on the given rows, fp32 on the CPU."""
    settings: dict[str, Any] = {
        "base_model": options.base_model, "device": "cpu", "dtype": "float32", "optimizer": "adamw_torch_fused",
        f"tasks.{TASK}.path": str((options.data / "sst2" / "train.jsonl").resolve()),
        f"tasks.{TASK}.eval_path": str((options.data / "sst2" / "test.jsonl").resolve()),
    }  # fmt: skip
    if options.smoke:
        settings |= {"micro_batch_size": 2, f"tasks.{TASK}.max_rows": 4, f"tasks.{TASK}.eval_max_rows": 8}
    return Config.load(EXAMPLE, [f"{key}={json.dumps(value)}" for key, value in settings.items()])


def train(state: State) -> float:
    """All steps of tenfold -> seconds."""
    log, steps = ours.Log(), state.stage.steps
    for number in range(steps):
        ours.step(state, log)
        print(f"tenfold {number + 1}/{steps}: loss {log.records[-1]['loss']:.4f}", flush=True)
    return float(sum(one["seconds"] for one in log.records))


def train_peer(config: Config, state: State) -> float:
    """The same through the Trainer -> seconds; its adapter comes back, through PEFT's files, as ``peft``."""
    bank = state.bank
    own = base.load(config.base_model)
    batches = [ours.batch(state, number) for number in range(state.stage.steps)]
    with tempfile.TemporaryDirectory() as folder:
        model = usual.wrap(own, bank.get(TASK))
        turns = usual.Turns(lambda: print(f"PEFT {len(turns.seconds)}/{len(batches)}: {turns.seconds[-1]:.1f} s"))
        usual.UsualLoop(model, own, batches, state.stage.lanes[0], Path(folder), turns).train()
        model.save_pretrained(Path(folder) / "peft")
        store.load(bank, Path(folder) / "peft", "peft")
    return sum(turns.seconds)


def measure(config: Config, bank: Bank) -> Hits:
    """Which test rows each gets right."""
    [task] = runs.load_tasks(config)
    compositions = {"base": BASE, "tenfold": compose(TASK)}
    compositions |= {"peft": compose("peft")} if "peft" in bank.adapters else {}
    sets = evaluate.evaluate(bank, [Item(task, "eval", *one) for one in compositions.items()])
    return {one.adapter: [float(bool(case.correct)) for case in one.cases] for one in sets}


def summary(hits: Hits, seconds: dict[str, float]) -> dict[str, Any]:
    """Accuracy with intervals, and who is better, pair by pair on the same rows."""
    rows = {name: mean_rows(own) for name, own in hits.items()}
    estimates = {name: estimate(own, bounds=(0.0, 1.0)) for name, own in rows.items()}
    pairs = [pair for pair in PAIRS if set(pair) <= set(hits)]
    return {
        "accuracy": [
            {"model": name, "accuracy": e.value, "low": e.low, "high": e.high, "rows": e.n,
             "training_seconds": seconds.get(name, 0.0)}
            for name, e in estimates.items()
        ],
        "verdicts": [sentence(compare(rows[a], rows[b], bounds=(0.0, 1.0)), a, b) for a, b in pairs],
    }  # fmt: skip


def earlier(count: int | None) -> tuple[list[float], float]:
    """PEFT's answers and seconds of the run before; leaves the program where there are none of so many rows."""
    hits: list[float] = []
    if CASES.exists():
        with CASES.open(encoding="utf-8", newline="") as file:
            hits = [float(row["peft"]) for row in csv.DictReader(file)]
    if len(hits) != count:
        sys.exit(f"{CASES} has {len(hits)} rows, not {count}: run once with --peer")
    found = json.loads((record.RESULTS / "quality.json").read_text("utf-8"))["results"]["accuracy"]
    return hits, next(one["training_seconds"] for one in found if one["model"] == "peft")


def write_cases(hits: Hits) -> None:
    """A line for each test row: 1 where it is right."""
    with CASES.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["row", *hits])
        table.writerows([i, *map(int, own)] for i, own in enumerate(zip(*hits.values(), strict=True)))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options; --smoke is tiny and keeps nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("examples/data"), help="folder with sst2/*.jsonl")
    parser.add_argument("--peer", action="store_true", help="train through the usual loop too")
    parser.add_argument("--base-model", default=cases.BASE_MODEL)
    parser.add_argument("--smoke", action="store_true", help="4 training and 8 test rows, nothing kept")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
