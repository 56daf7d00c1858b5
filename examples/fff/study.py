"""The FFF study, step by step: what a step finds best is what the next one goes on with.

    python examples/fff/study.py [--set config.KEY=VALUE] [--out runs/fff] [--size mistral]

Each step is a sweep that `tenfold sweep` also runs by itself. What was cut short goes on with the same command. At the
end it prints every step's table and sentence, and the best hyperparameters; OUT/study.json has the numbers.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tenfold import cli, sweep
from tenfold.cli.progress import drawing
from tenfold.cli.sweep import show
from tenfold.cli.tables import paper
from tenfold.store import documents
from tenfold.sweep import Finished, Sweep

HERE = Path(__file__).parent
SETTLES = {
    "step1_i": ("fff_blocks", "fff_target"),
    "step1_ii": ("fff_blocks", "fff_activation"),
    "step1_iii": (),
    "step1_iv": (),
    "step2": (),
}
"""What each step settles for those after it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all steps; 130 where Ctrl-C cut one short."""
    options = parse(arguments)
    settled: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for step, keys in SETTLES.items():
        finished = run(step, settled, options)
        print(f"\n{step}")
        show(finished, paper())
        if finished.interrupted:
            return 130
        best = winner(finished)
        settled |= {key: best["settings"][key] for key in keys}
        told[step] = {"best": best, "comparison": finished.found["comparison"], "settled": dict(settled)}
    documents.write(options.out / "study.json", told)
    print(f"\nThe best hyperparameters for the FFF network are: {best['legend']}")
    return 0


def run(step: str, settled: Mapping[str, Any], options: argparse.Namespace) -> Finished:
    """One step, its FFF entries with what was settled before; what an entry itself varies stays."""
    path = HERE / options.size / f"{step}.yaml"
    out = [f"output_dir={options.out / step}"]
    entries = [carry(one.model_dump(by_alias=True), settled) for one in load(path, out, options).settings.compare]
    with drawing() as progress:
        return sweep.run(load(path, [*out, f"compare={json.dumps(entries)}"], options), progress=progress)


def load(path: Path, more: Sequence[str], options: argparse.Namespace) -> Sweep:
    """A step's sweep with the settings of the command line."""
    return sweep.load(path, [*options.set, *more])


def carry(entry: dict[str, Any], settled: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a comparison that goes on with what was settled, where it has an FFF."""
    if "fff" not in entry["set"]["adapter"]:
        return entry
    own = {**entry["set"], **settled}
    if isinstance(names := own["fff_activation"], list):  # one for each block, at least
        blocks = own["fff_blocks"] = max(own["fff_blocks"], len(names))
        own["fff_activation"] = [names[block % len(names)] for block in range(blocks)]
    return {**entry, "set": own}


def winner(finished: Finished) -> dict[str, Any]:
    """The entry with an FFF whose validation loss is least, over data sets and seeds, with its settings."""
    rows = finished.found["comparison"]["rows"]
    entries = finished.sweep.entries
    names = [name for name in dict.fromkeys(row["group"] for row in rows) if "fff" in entries[name].changes["adapter"]]
    means = {name: fmean(row["mean"] for row in rows if row["group"] == name) for name in names}
    name = min(means, key=means.__getitem__)
    trial = next(one for one in finished.found["trials"] if one["group"] == name)
    rate = next(row["learning_rate"] for row in rows if row["group"] == name)
    settings = {**entries[name].changes, "learning_rate": rate}
    return {"name": name, "loss": means[name], "settings": settings, "legend": trial["legend"].partition(", lr=")[0]}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as tenfold sweep has it")
    parser.add_argument("--out", type=Path, default=Path("runs/fff"))
    parser.add_argument("--size", choices=[".", "mistral"], default=".", help="which of the two sizes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with cli.reporting():
        sys.exit(main())
