"""A sweep's record made by hand."""

from shown import HOSTILE


def trial(number, group, seed, values, **more):
    curves = {
        task: {"train": [[s, value + 1 / s] for s in range(1, 9)], "validation": [[4, value + 0.1], [8, value]]}
        for task, value in values.items()
    }
    return {"number": number, "state": "complete", "group": group, "legend": f"{group} - all - gelu", "kind": group,
            "settings": {"width": 8 * (number + 1), "activation": "gelu" if number % 2 else "relu"}, "seed": seed,
            "learning_rate": 1e-4 * 10 ** (number % 3), "parameters": 1000 + number, "values": values,
            "curves": curves, "seconds": 1.5, "reason": "", **more}  # fmt: skip


def record():
    """A sweep's: six trials of two groups, one of them pruned, one task with overlap."""
    groups = ("lora", "fff")
    trials = [trial(n, groups[n % 2], n // 2, {"code": 1.0 + 0.01 * n, "chat": 2.0 + 0.01 * n}) for n in range(6)]
    trials[5] |= {"state": "pruned", "values": {}, "reason": HOSTILE}
    rows = [
        {"group": g, "task": t, "trials": 3, "mean": m, "low": m - 0.02, "high": m + 0.02, "parameters": 1000 + i,
         "difference": i, "learning_rate": 1e-3}
        for i, g in enumerate(groups) for t, m in (("code", 1.02 + i / 100), ("chat", 2.02 + i / 100))
    ]  # fmt: skip
    pairs = [{"a": "fff", "b": "lora", "task": "code", "difference": 0.01, "low": -0.01, "high": 0.03, "p": 0.3,
              "verdict": "not distinguishable"}]  # fmt: skip
    compared = {"budget": 1000, "rows": rows, "pairs": pairs, "conclusion": "fff is not distinguishable from lora."}
    return {"name": "study", "created": "2026-11-24", "machine": {"cpu": "a cpu"}, "base": "tiny",
              "tasks": ["code", "chat"], "overlap": ["chat"], "metric": "validation_loss", "trials": trials, "best": 0,
              "comparison": compared}  # fmt: skip
