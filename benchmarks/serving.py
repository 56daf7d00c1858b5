"""The engine under many requests: throughput beside its peers, load, known beginnings, replacement.

    python benchmarks/serving.py --data DIR [--only SECTION ...] [--rounds 2] [--vllm PYTHON] [--smoke]

DIR has mnli/train.jsonl; its rows are the prompts. SmolLM2 in fp32; adapters are LoRA of rank 8 on all linear layers.
Sections: roof (the matrix products of a decoding step alone), throughput (64 requests of 64 new tokens under the base
and 1, 8 and 64 adapters), loaded (64 out of 1,000 adapters, which take 10 GB), peers (transformers' base, PEFT's mixed
batch, and vLLM where PYTHON has it), load (requests that arrive at rising rates), prefix (time to the first token of a
1,000-token prompt, cold and warm), replacement (an adapter replaced over and over while requests use it). Sections and
rates that are left out keep what the results file has from an earlier run on the same machine.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import load
import peers
import record
import serving_cases
import throughput

SECTIONS: dict[str, Callable[[serving_cases.World], Any]] = {
    "roof": throughput.roof,
    "throughput": throughput.adapters,
    "loaded": throughput.loaded,
    "peers": peers.measure,
    "load": load.rising,
    "prefix": load.prefix,
    "replacement": load.replacement,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and keep ``results/serving.json``."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        world = serving_cases.make(options, Path(folder))
        results = {}
        for name in options.only or SECTIONS:
            results[name] = SECTIONS[name](world)
            print(json.dumps({name: results[name]}, indent=2), flush=True)
    if not options.smoke:
        before = record.earlier("serving")
        if "load" in results:
            results["load"] = merged(before.get("load", []), results["load"])
        print(record.record("serving", before | results, "python benchmarks/serving.py --data DIR --vllm PYTHON"))
    return 0


def merged(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of the load, by rate: those at rates that were not taken now stay."""
    lines = {(line["requests_per_second"], line["side"]): line for line in [*before, *now]}
    return [lines[key] for key in sorted(lines)]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options; --smoke is tiny and keeps nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("examples/data"), help="folder with mnli/train.jsonl")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, help="sections to run (all)")
    parser.add_argument("--rounds", type=int, default=2, help="timed rounds")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--new", type=int, default=64, help="new tokens of each request")
    parser.add_argument("--loaded", type=int, default=1000, help="adapters in the bank for the largest case")
    parser.add_argument("--rates", type=float, nargs="*", default=[0.5, 1, 2, 3], help="arrivals a second")
    parser.add_argument("--seconds", type=float, default=25, help="of arrivals at each rate")
    parser.add_argument("--vllm", type=Path, help="a Python that has vLLM")
    parser.add_argument("--smoke", action="store_true", help="4 requests, 1 round, nothing kept")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.rounds, options.requests, options.new, options.loaded = 1, 4, 3, 70
        options.rates, options.seconds = [4], 1
    return options


if __name__ == "__main__":
    sys.exit(main())
