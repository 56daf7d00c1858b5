"""What every benchmark leaves: numbers, and the machine, versions, date and command behind them."""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import torch

RESULTS = pathlib.Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers", "peft")
PEAK_SIDE = 2048
PEAK_ROUNDS = 7


def record(name: str, results: dict[str, Any], command: str, folder: pathlib.Path = RESULTS) -> pathlib.Path:
    """Write ``results/NAME.json``. command: what a reader types to get these numbers again.

    results: JSON values; tables are lists of flat dicts of one shape, each becomes a table in the
    report, and single values a list. Use ``summary`` for what was measured several times.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    head = {"name": name, "date": datetime.now(UTC).date().isoformat(), "command": command}
    content = {**head, "machine": machine(), "versions": versions(), "results": results}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    return path


def summary(seconds: Sequence[float]) -> dict[str, float | int]:
    """Median, least and greatest of several measurements, and how many there were."""
    spread = {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}
    return {**spread, "rounds": len(seconds)}


def machine() -> dict[str, Any]:
    """What the numbers depend on, and nothing that names the machine or its owner."""
    found: dict[str, Any] = {
        "cpu": _cpu(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(_memory() / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def versions() -> dict[str, str]:
    """Python, the packages that do the work, and tenfold's commit (marked where files had changed since)."""
    packages = {name: _version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages, "tenfold": _commit()}


def measure_peak(side: int = PEAK_SIDE, rounds: int = PEAK_ROUNDS) -> float:
    """This machine's large-matrix rate in GFLOP/s: the median of several fp32 products of ``side`` cubed
    (2 * side^3 operations each), with torch's current number of threads, after one to warm up."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    out = torch.empty(side, side)
    seconds = [_seconds(a, b, out) for _ in range(rounds + 1)][1:]
    return 2 * side**3 / statistics.median(seconds) / 1e9


def _seconds(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> float:
    start = time.perf_counter()
    torch.mm(a, b, out=out)
    return time.perf_counter() - start


def _cpu() -> str:
    """The model as the system names it; on a machine without /proc what Python knows."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int:
    """Bytes: the machine's memory, or the container's share of it where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = pathlib.Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text("utf-8").strip() if limit.exists() else "max"
    return total if text == "max" else min(total, int(text))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    folder = pathlib.Path(__file__).parent
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", "../src", ".")
    return f"{commit}, changed" if commit and changed else commit or "unknown"


def _git(folder: pathlib.Path, *words: str) -> str:
    try:
        run = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return run.stdout.strip()
