"""What choosing an adapter costs, and how often the choice is right.

    python benchmarks/router.py --data DIR [--costs] [--smoke]

DIR is examples/data. Quality: twelve tasks, nine of real rows (mnli, rte, sst2, imdb, gsm8k, mbpp, multi30k both ways,
alpaca) and three made ones (dates, contacts, spelling), as a user would type them, without their templates. Some are
alike on purpose: mnli and rte are both a premise and a hypothesis, sst2 and imdb both film reviews. It is no public
set of intents, so its numbers are not to be compared with those that are known of such sets. Latency: one text at a
time, on one thread; the thousand tasks are made of random words.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import record
import torch

from tenfold import route
from tenfold.route import Router, quality
from tenfold.route.rows import texts
from tenfold.tasks import load
from tenfold.tasks.settings import TaskSettings

KINDS = (["tfidf"], ["embedding"], ["tfidf", "embedding"], ["nearest"], ["nearest:embedding"], ["bert"])
QUICK = ("tfidf", "nearest")
ASKED = 100  # texts; twice as many are learnt, half as many calibrate
MANY, WORDS = 1000, 20_000
SOURCES: dict[str, dict[str, Any]] = {
    "mnli": {"path": "mnli/train.jsonl", "eval_path": "mnli/validation.jsonl", "prompt": "{premise} {hypothesis}"},
    "rte": {"path": "rte/train.jsonl", "eval_path": "rte/validation.jsonl", "prompt": "{premise} {hypothesis}"},
    "sst2": {"path": "sst2/train.jsonl", "eval_path": "sst2/test.jsonl", "prompt": "{text}"},
    "imdb": {"path": "imdb/train.jsonl", "eval_path": "imdb/test.jsonl", "prompt": "{text}"},
    "gsm8k": {"path": "gsm8k/train.jsonl.gz", "eval_path": "gsm8k/test.jsonl", "prompt": "{question}"},
    "mbpp": {"path": "mbpp/mbpp.jsonl", "val_set_size": 300, "prompt": "{text}"},
    "en-de": {"path": "multi30k/train.jsonl.gz", "eval_path": "multi30k/test.jsonl", "prompt": "{en}"},
    "de-en": {"path": "multi30k/train.jsonl.gz", "eval_path": "multi30k/test.jsonl", "prompt": "{de}"},
    "alpaca": {"path": "alpaca/alpaca_en_demo.json", "val_set_size": 300},
    **{
        name: {
            "path": f"synthetic:{name}?split=train&rows=800",
            "eval_path": f"synthetic:{name}?split=test&rows=300",
            "prompt": "{text}",
        }
        for name in ("dates", "contacts", "spelling")
    },
}
RESPONSES = {"gsm8k": "{answer}", "mbpp": "{code}", "en-de": "{de}", "de-en": "{en}", "alpaca": None}
ANSWERED = ("dates", "contacts", "spelling")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and record."""
    options = parse(arguments)
    torch.set_num_threads(1)
    kinds = [one for one in KINDS if not options.kinds or "+".join(one) in options.kinds]
    train, held, asked = corpus(options.data, options.rows)
    results = costs(kinds, options.many, train, held, asked)
    if options.costs:
        results = record.earlier("router") | results
    else:
        results = choices(kinds, options.rows, train, held, asked) | results
    print(json.dumps(results, indent=2))
    if not options.kinds:
        print(record.record("router", results, "python benchmarks/router.py"))
    return 0


def costs(kinds: Sequence[list[str]], count: int, train: Any, held: Any, asked: Any) -> dict[str, Any]:
    """What each kind costs at ten tasks and at very many. bert costs what embedding does, and is left out."""
    return {
        "cost_at_ten_tasks": [ten(one, train, held, asked) for one in kinds if one != ["bert"]],
        f"cost_at_{count}_tasks": [many(one, count) for one in (["tfidf"], ["nearest"])],
    }


def choices(kinds: Sequence[list[str]], rows: int, train: Any, held: Any, asked: Any) -> dict[str, Any]:
    """How often each kind is right, and what it makes of texts of no task that it knows."""
    fitted = {"+".join(one): route.fit(train, held, one) for one in kinds}
    return {
        "tasks": len(train),
        "texts_of_a_task": {"learnt": rows * 2, "calibrated_on": rows // 2, "asked_about": rows},
        "quality": [line(name, router, asked) for name, router in fitted.items()],
        "out_of_scope": [scope(name, router, train, held, asked) for name, router in fitted.items()],
    }


def settings(path: str, name: str = "", **more: Any) -> TaskSettings:
    """A task of the data folder."""
    response = RESPONSES.get(name, "{answer}" if name in ANSWERED else "{label}")
    return TaskSettings(path=path, response=response, **{"prompt": "{text}", **more})


def corpus(data: Path, rows: int) -> tuple[dict[str, list[str]], ...]:
    """Texts to learn from, to calibrate on and to be asked about, by task, drawn by one seed, none of them twice."""
    parts: tuple[dict[str, list[str]], ...] = ({}, {}, {})
    for name, said in SOURCES.items():
        given = {"prompt": None, **said} if name == "alpaca" else said
        task = load(name, settings(given["path"], name, **{k: v for k, v in given.items() if k != "path"}), data)
        [test] = task.eval_sets.values()
        draw = random.Random(0)
        asked = draw.sample(texts(test), min(rows, len(test)))
        own = [text for text in dict.fromkeys(texts(task.train)) if text not in set(asked)]
        drawn = draw.sample(own, min(2 * rows + rows // 2, len(own)))
        for part, chosen in zip(parts, (drawn[: 2 * rows], drawn[2 * rows :], asked), strict=True):
            part[name] = chosen
    return parts


def line(name: str, router: Router, asked: dict[str, list[str]]) -> dict[str, Any]:
    """Accuracy, macro F1, share below the threshold and calibration, with intervals."""
    found = {(one.metric, one.of): one.found for one in quality.measure(router, asked)}
    bare = {metric: found[metric, "bare text"] for metric in ("accuracy", "macro_f1", "coverage", "ece")}
    shown = {metric: interval(one) for metric, one in bare.items()}
    return {"kind": name, **shown, "ece_uncalibrated": router.calibration.ece_before, "score": router.abstention.score}


def scope(name: str, router: Router, train: Any, held: Any, asked: Any) -> dict[str, Any]:
    """What a router without a task makes of that task's texts, over the first eight."""
    if name == "bert":
        return {"kind": name, "auroc": "not measured: it would be trained eight times", "rejected": ""}
    found = {one.metric: interval(one.found) for one in quality.held_out(router, train, held, asked)}
    return {"kind": name, **found}


def ten(specs: list[str], train: Any, held: Any, asked: Any) -> dict[str, Any]:
    """Seconds of fitting, size on disk, milliseconds of one text at ten tasks."""
    names = list(train)[2:12]
    some, known = ({name: part[name] for name in names} for part in (train, held))
    router, seconds = timed(lambda: route.fit(some, known, specs))
    return cost("+".join(specs), router, seconds, [text for name in names for text in asked[name]])


def many(specs: list[str], count: int) -> dict[str, Any]:
    """The same at very many tasks, each of words of its own and of words that all have."""
    train = {f"task{number}": made(number, 20) for number in range(count)}
    router, seconds = timed(lambda: route.fit(train, kinds=specs))
    asked = [text for number in range(0, count, max(1, count // 200)) for text in made(number, 1, seed=1)]
    return cost("+".join(specs), router, seconds, asked)


def made(number: int, count: int, seed: int = 0) -> list[str]:
    """Texts of ten words, half of them of the task's own ten."""
    draw = random.Random(f"{number} {seed}")
    own = random.Random(number).sample(range(WORDS), 10)
    return [
        " ".join(f"w{word}" for word in [*draw.sample(own, 5), *draw.sample(range(WORDS), 5)]) for _ in range(count)
    ]


def cost(name: str, router: Router, seconds: float, asked: list[str]) -> dict[str, Any]:
    """One router's price."""
    short = [text for text in asked if len(text) <= 300] or asked
    with tempfile.TemporaryDirectory() as place:
        router.save(Path(place) / "router")
        size = sum(path.stat().st_size for path in (Path(place) / "router").iterdir())
    found = {"kind": name, "tasks": len(router.tasks), "seconds_to_fit": seconds, "megabytes": size / 1e6}
    for what, given in ("up to 300 characters", short), ("all texts", asked):
        p50, p95 = milliseconds(router, given)
        found |= {f"p50_ms, {what}": p50, f"p95_ms, {what}": p95}
    return found


def milliseconds(router: Router, given: list[str]) -> tuple[float, float]:
    """Median and 95th percentile of single decisions."""
    times = []
    for text in given[:: max(1, len(given) // 200)]:
        start = time.perf_counter()
        router.decide([text])
        times.append(1000 * (time.perf_counter() - start))
    return quality.quantile(times[1:] or times, 0.5).value, quality.quantile(times[1:] or times, 0.95).value


def timed(job: Callable[[], Router]) -> tuple[Router, float]:
    """What a job gives, and its seconds."""
    start = time.perf_counter()
    done = job()
    return done, time.perf_counter() - start


def interval(one: Any) -> str:
    """``0.975 [0.960, 0.985]``."""
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options; --smoke is tiny and keeps nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("examples/data"), help="folder with mnli/train.jsonl")
    parser.add_argument(
        "--kinds", nargs="*", metavar="KIND", help="only these, e.g. tfidf tfidf+embedding; nothing kept"
    )
    parser.add_argument("--costs", action="store_true", help="costs alone; the rest stays as it was taken before")
    parser.add_argument("--smoke", action="store_true", help="few texts, two kinds, nothing kept")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.kinds = QUICK
    options.rows, options.many = (10, 30) if options.smoke else (ASKED, MANY)
    return options


if __name__ == "__main__":
    sys.exit(main())
