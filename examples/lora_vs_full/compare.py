"""LoRA beside full finetuning on one task: time and memory of a step, the loss curve, and what each forgets.

    python examples/lora_vs_full/compare.py [--out runs/lora_vs_full] [--set KEY=VALUE] [--smoke]

Each way trains in a process of its own, so that its peak memory is its own. Writes table.md and curve.png into
the folder of --out, beside the two runs.
"""

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import matplotlib

import tenfold
from tenfold.cli.progress import drawing
from tenfold.config import Config
from tenfold.errors import TenfoldError
from tenfold.evaluate import BASE_LABEL, Result, read_results
from tenfold.evaluate.metrics import DRIFT
from tenfold.evaluate.tables import show_interval
from tenfold.progress import Progress, Task

matplotlib.use("Agg")
from matplotlib import pyplot

TASKS = Path(__file__).with_name("tasks.yaml")
LEARNT = "mnli"
WAYS: dict[str, Mapping[str, object]] = {
    "LoRA": {"lora_r": 16, "lora_alpha": 32, "learning_rate": 5e-4},
    "full": {"adapter": "full", "learning_rate": 2e-5},
}
SMOKE = ["micro_batch_size=2", "steps=2", f"tasks.{LEARNT}.max_rows=4"]
SMOKE += [f"tasks.{task}.eval_max_rows=2" for task in (LEARNT, "sst2", "instructions", "text")]
SMOOTH = 8  # steps that a point of the curve is the mean of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both ways and write what they came to; a user's mistake is one line and exit code 2."""
    options = parse(arguments)
    try:
        if options.way:
            train(options)
            return 0
        for way in WAYS:
            subprocess.run([sys.executable, __file__, "--way", way, *(arguments or sys.argv[1:])], check=True)
    except TenfoldError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    text = "\n".join([*costs(options.out), "", *scores(options.out), ""])
    (options.out / "table.md").write_text(text, "utf-8")
    draw(options.out)
    print(f"{text}\n{options.out / 'table.md'} {options.out / 'curve.png'}")
    return 0


def train(options: argparse.Namespace) -> None:
    """One way, in this process: train, measure every task before and after, and note the memory."""
    place = options.out / options.way
    given = {**WAYS[options.way], "output_dir": str(place)}
    settings = [f"{key}={json.dumps(value)}" for key, value in given.items()]
    config = Config.load(TASKS, [*settings, *(SMOKE if options.smoke else []), *options.set])
    with drawing() as drawn:
        progress = Noting(drawn)
        finished = tenfold.train(config, overwrite=True, progress=progress)
        if options.way != "full":  # its run has measured what it learnt, not yet what that did to the rest
            others = [name for name in config.tasks if name != LEARNT]
            finished.run.evaluate(adapters=[LEARNT], names=others, progress=progress)
    (place / "memory.json").write_text(json.dumps({"peak_mb": round(progress.peak / 2**20)}), "utf-8")


class Noting:
    """A Progress that passes everything on, and notes the memory once the training is over."""

    def __init__(self, drawn: Progress) -> None:
        self.drawn, self.trained, self.peak = drawn, False, 0

    def start(self, what: str, total: int | None, unit: str) -> Task:
        """Whatever comes after the training is not part of it."""
        if self.trained and not self.peak:
            self.peak = peak()
        self.trained = self.trained or what.startswith("training")
        return self.drawn.start(what, total, unit)

    def note(self, text: str) -> None:
        """Passed on."""
        self.drawn.note(text)


def peak() -> int:
    """Bytes: the most memory that this process has had. Linux's ru_maxrss would take the parent's with it, so
    that its own high-water mark is read where there is one."""
    status = Path("/proc/self/status")
    lines = status.read_text("utf-8").splitlines() if status.exists() else []
    marks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
    return marks[0] if marks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def steps(folder: Path) -> list[dict[str, Any]]:
    """What a run wrote down of each of its steps."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return [record for record in map(json.loads, lines) if "loss" in record]


def costs(out: Path) -> Iterator[str]:
    """What training took, as a Markdown table."""
    yield "| way | seconds a step (median) | peak memory (MB) | loss at the end |"
    yield "| --- | ---: | ---: | ---: |"
    for way in WAYS:
        found = steps(out / way)
        last = mean(one["loss"] for one in found[-SMOOTH:])
        memory = json.loads((out / way / "memory.json").read_text("utf-8"))["peak_mb"]
        yield f"| {way} | {median(one['seconds'] for one in found):.2f} | {memory:,} | {last:.3f} |"


def scores(out: Path) -> Iterator[str]:
    """What was learnt and what was forgotten, as a Markdown table; verdicts are paired, against the base."""
    found = {way: read_results(out / way / "results.json") for way in WAYS}
    yield f"| task | metric | base | {' | '.join(f'{way} | against the base' for way in WAYS)} |"
    yield f"| --- | --- | --- |{' --- | --- |' * len(WAYS)}"
    for base in (one for one in found["full"] if one.adapter == BASE_LABEL and one.metric not in DRIFT):
        own = [next(one for one in found[way] if same(one, base)) for way in WAYS]
        cells = [f"{show_interval(one)} | {one.comparison.verdict if one.comparison else ''}" for one in own]
        arrow = "" if base.higher_is_better else " (less is better)"
        yield f"| {base.task} | {base.metric}{arrow} | {show_interval(base)} | {' | '.join(cells)} |"


def same(one: Result, base: Result) -> bool:
    """Whether this is what a way of training made of a result of the base."""
    return one.adapter != BASE_LABEL and (one.task, one.metric) == (base.task, base.metric)


def draw(out: Path) -> None:
    """The loss by steps and by seconds, each point the mean of a few steps."""
    figure, (by_step, by_second) = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for way in WAYS:
        found = steps(out / way)
        losses = [one["loss"] for one in found]
        smooth = [mean(losses[max(0, i + 1 - SMOOTH) : i + 1]) for i in range(len(losses))]
        seconds = [sum(one["seconds"] for one in found[: i + 1]) for i in range(len(found))]
        by_step.plot(range(1, len(smooth) + 1), smooth, label=way)
        by_second.plot(seconds, smooth, label=way)
    by_step.set(xlabel="optimizer steps", ylabel=f"training loss, mean of {SMOOTH} steps")
    by_second.set(xlabel="seconds of training")
    by_step.legend()
    figure.savefig(out / "curve.png", dpi=120)
    pyplot.close(figure)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options; --smoke is two steps on a few rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/lora_vs_full"), help="folder of what is written")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="replace a setting of tasks.yaml"
    )
    parser.add_argument("--smoke", action="store_true", help="two steps on a few rows")
    parser.add_argument("--way", choices=list(WAYS), help="train only this way, and write no table")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
