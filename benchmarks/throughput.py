"""How many tokens a second: the machine's matrix products alone, and the engine with more and more adapters."""

import statistics
import time
from typing import Any

import torch
import torch.nn.functional as F
from serving_cases import FEW, World

from tenfold.adapters.composition import Composition
from tenfold.generate import Live, Request

PREFILL = 2048


def roof(world: World) -> dict[str, float]:
    """The products of all linear layers and the head for a token of every request; and of all prompts."""
    base = world.bank.base
    weights = [world.bank.frozen[name].weight for name in world.bank.linear]
    head = base.model.get_output_embeddings().weight
    rows, prompt = len(world.prompts), sum(map(len, world.prompts))
    step = _products(weights, rows) + _products([head], rows)
    prefill = _products(weights, PREFILL) * prompt / PREFILL + _products([head], rows)
    seconds = prefill + step * (world.options.new - 1)
    return {"step_milliseconds": 1000 * step, "decoded_tokens_per_second": rows / step,
            "prefill_seconds": prefill, "tokens_per_second": rows * world.options.new / seconds}  # fmt: skip


@torch.inference_mode()
def _products(weights: list[torch.Tensor], rows: int) -> float:
    """Seconds of ``rows`` tokens through all weights, the median of three."""
    given = {weight.shape[1]: torch.randn(rows, weight.shape[1]) for weight in weights}

    def once() -> float:
        start = time.perf_counter()
        for weight in weights:
            F.linear(given[weight.shape[1]], weight)
        return time.perf_counter() - start

    return statistics.median([once() for _ in range(4)][1:])


def adapters(world: World) -> list[dict[str, Any]]:
    """All requests at once, under the base and under adapters in turns. The rounds go by turns too."""
    world.need(64)
    rows = len(world.prompts)
    ways = {str(count): world.compositions(count) for count in (0, 1, FEW, 64)}
    ways[f"{FEW}, uneven rows"] = [world.compositions(FEW)[i * i % rows] for i in range(rows)]
    return _measure(world, ways)


def loaded(world: World) -> list[dict[str, Any]]:
    """The same with many more in the bank than in the batch."""
    many = world.options.loaded
    world.need(many)
    return _measure(
        world, {f"0 of {many} loaded": world.compositions(0), f"64 of {many} loaded": world.compositions(many)}
    )


def _measure(world: World, ways: dict[str, list[Composition]]) -> list[dict[str, Any]]:
    """The engine is one that runs already: a first round of all ways is not counted."""
    live = Live(world.bank, max_rows=len(world.prompts), prefill_tokens=PREFILL)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(world.options.rounds + 1):
        for name, compositions in ways.items():
            found[name].append(run(world, live, compositions, f"{number} {name}"))
    timed = {name: times[1:] for name, times in found.items()}
    base = statistics.median(total for total, _ in next(iter(timed.values())))
    return [_line(world, name, times, base) for name, times in timed.items()]


def _line(world: World, name: str, times: list[tuple[float, float]], base: float) -> dict[str, Any]:
    total, step = (statistics.median(values) for values in zip(*times, strict=True))
    rows = len(world.prompts)
    return {
        "adapters": name,
        "seconds": total,
        "tokens_per_second": rows * world.options.new / total,
        "decoding_step_milliseconds": 1000 * step,
        "decoded_tokens_per_second": rows / step,
        "below_base": 1 - base / total,
    }


def run(world: World, live: Live, compositions: list[Composition], tenant: str) -> tuple[float, float]:
    """Seconds in all, and of the median pass with all rows in it. A tenant of its own finds no prompt in the cache."""
    for prompt, composition in zip(world.prompts, compositions, strict=True):
        live.submit(Request(prompt, composition, world.options.new), tenant=tenant)
    steps, start = list[float](), time.perf_counter()
    while not live.idle:
        before = time.perf_counter()
        events = live.step()
        if len({event.number for event in events}) == len(world.prompts):
            steps.append(time.perf_counter() - before)
    return time.perf_counter() - start, statistics.median(steps)
