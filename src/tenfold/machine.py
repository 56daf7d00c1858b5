"""What a number depends on: the machine, the versions, the memory that was used, how fast matrix products are here."""

import functools
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import torch

if sys.platform != "win32":
    import resource

PACKAGES = ("torch", "transformers", "peft")
SIDE, GPU_SIDE = 2048, 8192


def describe() -> dict[str, Any]:
    """What numbers depend on, and nothing that names the machine or its owner."""
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


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Python and the packages that do the work."""
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def peak_memory(device: torch.device) -> dict[str, int]:
    """Bytes: the most that this process had at once, and on a GPU the most that its tensors took there."""
    found = {"process": _resident()} if sys.platform != "win32" else {}
    if device.type == "cuda":
        found["device"] = torch.cuda.max_memory_allocated(device)
    return found


def measure_peak(side: int = 0, rounds: int = 7, device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """A device's large-matrix rate in GFLOP/s: the median of several products of ``side`` cubed (2 * side^3 operations
    each) after one to warm up, on a CPU with torch's current number of threads."""
    side = side or (SIDE if device == "cpu" else GPU_SIDE)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    seconds = [_time(lambda: torch.mm(a, b, out=out), device) for _ in range(rounds + 1)][1:]
    return 2 * side**3 / statistics.median(seconds) / 1e9


@functools.cache
def known_peak(device: str, dtype: torch.dtype) -> float:
    """The same from a few products, measured once in a process."""
    return measure_peak(rounds=3, device=device, dtype=dtype)


def _time(work: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _resident() -> int:
    """Linux counts in KiB, macOS in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


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
