"""Writes the rows of all of mole.yaml's tasks into one task of one adapter as large as its nine together.

    python examples/mole/mixture.py [--out DIR] && tenfold train DIR/mixture.yaml

What `tenfold route eval runs/mole --mixture runs/mixture` compares the routed adapters with.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from tenfold import runs
from tenfold.config import Config

MOLE = Path(__file__).with_name("mole.yaml")
KEPT = ("base_model", "base_quantization", "lora_alpha", "lora_target_linear", "learning_rate", "lr_scheduler")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write DIR/mixture.jsonl and DIR/mixture.yaml."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/mixture-data"), help="folder to write")
    parser.add_argument("--config", type=Path, default=MOLE)
    options = parser.parse_args(arguments)
    config = Config.load(options.config)
    tasks = runs.load_tasks(config)
    rows = []
    for task in tasks:
        epochs = round(config.task(task.name).training.num_epochs)
        rows += [{"prompt": one.prompt, "completion": one.response} for one in task.train] * epochs
    random.Random(config.seed).shuffle(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    (options.out / "mixture.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    said = yaml.safe_load(config.dump())
    made = {key: said[key] for key in KEPT if key in said}
    made |= {
        "lora_r": said["lora_r"] * len(tasks), "micro_batch_size": 8, "prompt_style": "raw", "sequence_len": 320,
        "output_dir": "runs/mixture", "tasks": {"mixture": {"path": "mixture.jsonl", "data_format": "completion"}},
    }  # fmt: skip
    (options.out / "mixture.yaml").write_text(yaml.safe_dump(made, sort_keys=False), "utf-8")
    print(f"{len(rows)} rows in {options.out}; now: tenfold train {options.out / 'mixture.yaml'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
