"""Run folders made by hand: what tasks scored after which stage, with the cases behind it."""

import json

from tenfold.evaluate import CaseSet, save
from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics import find_metrics


def case_set(task, hits, adapter=None, losses=None, parameters=None, split="eval"):
    """Cases that are right where a hit is 1; ``losses`` are their nats over two tokens each."""
    label, metrics = adapter or task, ["exact_match", *(["loss"] if losses is not None else [])]
    cases = [
        Case(split, i, f"{task} {i}?", "yes", answer="yes" if hit else "no", nats=losses and losses[i], tokens=2)
        for i, hit in enumerate(hits)
    ]
    composition = () if label == "base" else ((label, 1.0),)
    sizes = {"base": 1000} | ({} if label == "base" else {label: 10})
    return CaseSet(task, split, label, composition, find_metrics(metrics), cases, 0.0, parameters or sizes)


def share(right, of=20):
    """So many hits of so many cases, spread."""
    return [int((i + 1) * right // of > i * right // of) for i in range(of)]


def write_run(folder, stages, trained, seed=0, **more):
    """stages: by number, by task, how many of 20 were right. trained: for each stage the tasks that it trains."""
    lanes = [[{"learners": [t], "feeds": [{"task": t}]} for t in tasks] for tasks in trained]
    plan = [{"name": f"stage of {' '.join(tasks)}", "lanes": own} for tasks, own in zip(trained, lanes, strict=True)]
    sizes = [1010 + 10 * number for number in range(len(trained))]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps({"stages": plan, "parameters": sizes}))
    for stage, scores in stages.items():
        save(folder, [case_set(task, share(right), **more) for task, right in scores.items()], stage=stage, seed=seed)
    return folder
