"""What every benchmark leaves: numbers, and the machine, versions, date and command behind them."""

import json
import pathlib
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tenfold.machine import describe as machine
from tenfold.machine import measure_peak
from tenfold.machine import versions as package_versions

RESULTS = pathlib.Path(__file__).parent / "results"
__all__ = ["RESULTS", "earlier", "machine", "measure_peak", "record", "summary", "versions"]


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


def earlier(name: str, folder: pathlib.Path = RESULTS) -> dict[str, Any]:
    """The results that are there from a run on the same machine; {} where there are none."""
    path = folder / f"{name}.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return dict(found["results"]) if found and found["machine"] == machine() else {}


def summary(seconds: Sequence[float]) -> dict[str, float | int]:
    """Median, least and greatest of several measurements, and how many there were."""
    spread = {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}
    return {**spread, "rounds": len(seconds)}


def versions() -> dict[str, str]:
    """Python, the packages that do the work, and tenfold's commit (marked where files had changed since)."""
    return {**package_versions(), "tenfold": _commit()}


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
