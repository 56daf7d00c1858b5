"""Requests that arrive on their own time: rising rates, prompts that begin alike, adapters that are replaced."""

import random
import statistics
import threading
import time
from typing import Any

import throughput
from peers import ask_vllm
from serving_cases import FEW, World, add

from tenfold.adapters import compose
from tenfold.generate import Live, Pool, Request
from tenfold.generate.event import Answer

LONG, TRIES = 1000, 5
Times = list[list[float]]
"""Arrival, first token and end of every request, in seconds."""


def rising(world: World) -> list[dict[str, Any]]:
    """Poisson arrivals under 8 adapters at each rate, until all are answered; vLLM with the same arrivals."""
    lines, live = [], Live(world.bank, prefill_tokens=256)
    throughput.run(world, live, world.compositions(FEW), "warm")
    for rate in world.options.rates:
        arrivals, draw = [0.0], random.Random(0)
        while arrivals[-1] < world.options.seconds:
            arrivals.append(arrivals[-1] + draw.expovariate(rate))
        lines.append(_line("tenfold", rate, _serve(world, live, arrivals), world.options.new))
        if world.options.vllm:
            times = ask_vllm(world, {"mode": "load", "arrivals": arrivals})
            lines.append(_line("vLLM", rate, times, world.options.new))
    return lines


def _serve(world: World, live: Live, arrivals: list[float]) -> Times:
    first, end, start = dict[int, float](), dict[int, float](), time.perf_counter()
    sent, asked = 0, dict[int, int]()
    while len(end) < len(arrivals):
        now = time.perf_counter() - start
        while sent < len(arrivals) and arrivals[sent] <= now:
            prompt, composition = world.prompts[sent % len(world.prompts)], compose(f"a{sent % FEW}")
            asked[live.submit(Request(prompt, composition, world.options.new), tenant=str(len(arrivals)))] = sent
            sent += 1
        if live.idle:
            time.sleep(0.001)
        for event in live.step():
            now = time.perf_counter() - start
            if event.tokens:
                first.setdefault(asked[event.number], now)
            if event.finish:
                end[asked[event.number]] = now
    return [[arrivals[i], first[i], end[i]] for i in range(len(arrivals))]


def _line(side: str, rate: float, times: Times, new: int) -> dict[str, Any]:
    waits = [first - arrival for arrival, first, _ in times]
    paces = [(end - first) / max(1, new - 1) for _, first, end in times]
    return {
        "side": side,
        "requests_per_second": rate,
        "requests": len(times),
        "first_token_p50": _quantile(waits, 0.5),
        "first_token_p99": _quantile(waits, 0.99),
        "per_token_p50": _quantile(paces, 0.5),
        "per_token_p99": _quantile(paces, 0.99),
        "tokens_per_second": len(times) * new / max(end for _, _, end in times),
    }


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def prefix(world: World) -> dict[str, float]:
    """Seconds to the first token of a long prompt that nobody has asked before, and of one that begins like it."""
    draw, cold, warm = random.Random(0), list[float](), list[float]()
    live = Live(world.bank)
    for _ in range(TRIES):
        shared = [draw.choice(prompt) for prompt in draw.choices(world.prompts, k=LONG)]
        for times, last in (cold, 5), (warm, 6):
            start = time.perf_counter()
            live.submit(Request([*shared, last], compose("a0"), 1))
            while not live.idle:
                live.step()
            times.append(time.perf_counter() - start)
    found = {"cold_seconds": statistics.median(cold), "warm_seconds": statistics.median(warm)}
    return {"prompt_tokens": LONG + 1, **found, "cold_over_warm": found["cold_seconds"] / found["warm_seconds"]}


def replacement(world: World) -> dict[str, Any]:
    """One of 4 adapters is replaced over and over, from disk, while requests keep 16 rows busy."""
    add(world.bank, "other", 99)
    versions = [world.saved("a0"), world.saved("other")]
    pool, live = Pool(world.bank), Live(world.bank, max_rows=16)
    for i in range(4):
        pool.put(f"p{i}", world.saved(f"a{i}"))
    new, count = min(world.options.new, 24), 4 * len(world.prompts) // 2
    pins, asked, answers, pauses = dict[int, str](), dict[int, tuple[int, str]](), dict[int, Answer](), list[float]()
    stop, replaced = threading.Event(), list[float]()
    thread = threading.Thread(target=_replace, args=(pool, versions, stop, replaced))
    thread.start()
    failed = sent = 0
    while sent < count or not live.idle:
        while sent < count and live.stats().waiting < 4:
            internal, generation = pool.pin(f"p{sent % 4}")
            number = live.submit(Request(world.prompts[sent % len(world.prompts)], compose(internal), new))
            pins[number], asked[number], sent = internal, (sent % len(world.prompts), generation), sent + 1
        before = time.perf_counter()
        for event in live.step():
            answers.setdefault(event.number, Answer()).add(event)
            if event.finish:
                failed += event.finish == "error"
                pool.unpin(pins[event.number])
        pauses.append(time.perf_counter() - before)
    stop.set()
    thread.join()
    return {
        "requests": count,
        "replacements": len(replaced),
        "failed_requests": failed,
        "requests_with_a_wrong_token": _wrong(world, pool, versions, asked, answers, new),
        "median_step_seconds": statistics.median(pauses),
        "longest_step_seconds": max(pauses),
        "median_replacement_seconds": statistics.median(replaced),
    }


def _replace(pool: Pool, versions: list[Any], stop: threading.Event, seconds: list[float]) -> None:
    while not stop.is_set():
        start = time.perf_counter()
        pool.put("p0", versions[(len(seconds) + 1) % 2])
        seconds.append(time.perf_counter() - start)
        stop.wait(0.2)


def _wrong(world: World, pool: Pool, versions: list[Any], asked: Any, answers: dict[int, Answer], new: int) -> int:
    """Requests whose tokens are not those that their generation gives in a quiet engine."""
    names = {}
    for folder in versions:
        pool.put("p0", folder)
        names[pool.generation("p0")] = pool.pin("p0")[0]
    names |= {pool.generation(f"p{i}"): pool.pin(f"p{i}")[0] for i in range(1, 4)}
    truth: dict[tuple[int, str], list[int]] = {}
    live, numbers = Live(world.bank, max_waiting=len(asked)), {}
    for key in set(asked.values()):
        numbers[live.submit(Request(world.prompts[key[0]], compose(names[key[1]]), new))] = key
    while not live.idle:
        for event in live.step():
            truth.setdefault(numbers[event.number], []).extend(event.tokens)
    return sum(answers[number].completion().tokens != truth[key] for number, key in asked.items())
