"""Makes docs/benchmarks.md from benchmarks/results/*.json; ``--check`` fails where the page is stale."""

import argparse
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Made by `python benchmarks/report.py` from `benchmarks/results/*.json`, never by hand. Each table names the
machine, the versions and the command behind it; times are medians unless a column says otherwise.
"""


def main() -> int:
    """Write the page, or with --check compare it. Exit code 1 where it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    text = page(RESULTS)
    if not parser.parse_args().check:
        PAGE.write_text(text, "utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text("utf-8") == text:
        return 0
    print("docs/benchmarks.md is stale; run python benchmarks/report.py", file=sys.stderr)
    return 1


def page(folder: pathlib.Path) -> str:
    """The whole page from a folder of results, in the order of their names."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    return "\n".join([HEAD, *(section(one) for one in found)])


def section(one: dict[str, Any]) -> str:
    """One benchmark: its command, its numbers, its machine."""
    blocks = [f"## {one['name'].replace('_', ' ').capitalize()}", f"`{one['command']}`"]
    blocks += list(_blocks(one["results"]))
    blocks += [f"{one['date']}. {_machine(one['machine'])}. {_versions(one['versions'])}."]
    return "\n\n".join(blocks) + "\n"


def _blocks(results: dict[str, Any], level: int = 3) -> Iterator[str]:
    """Single values first, as a table of their own; then a heading and a table for each list or dict."""
    single = {key: value for key, value in results.items() if not isinstance(value, dict | list)}
    if single:
        yield _table([{"": _words(key), "value": value} for key, value in single.items()])
    for key, value in results.items():
        if isinstance(value, dict | list) and value:
            yield f"{'#' * level} {_words(key).capitalize()}"
            yield from _inner(value, level)


def _inner(value: Any, level: int) -> Iterator[str]:
    if isinstance(value, list):
        yield _table(value if isinstance(value[0], dict) else [{"value": item} for item in value])
    elif all(isinstance(item, dict) and not _nested(item) for item in value.values()):
        yield _table([{"": _words(key), **item} for key, item in value.items()])
    else:
        yield from _blocks(value, min(level + 1, 6))


def _nested(item: dict[str, Any]) -> bool:
    return any(isinstance(value, dict | list) for value in item.values())


def _table(rows: list[dict[str, Any]]) -> str:
    """Markdown; columns in the order in which they first appear, numbers to the right."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    numeric = [all(isinstance(row.get(c, 0), int | float) for row in rows) for c in columns]
    lines = [_line(_words(c) for c in columns), _line("---:" if number else "---" for number in numeric)]
    lines += [_line(_cell(row.get(c, "")) for c in columns) for row in rows]
    return "\n".join(lines)


def _line(cells: Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    """Four significant digits of a float; a pipe would end the cell."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value).replace("|", "\\|").replace("\n", " ")
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _words(key: str) -> str:
    return key.replace("_", " ")


def _machine(found: dict[str, Any]) -> str:
    gpu = f", {found['gpu']}" if "gpu" in found else ""
    cores = f"{found['cores']} cores, {found['threads']} threads"
    return f"{found['cpu']}{gpu}, {cores}, {found['memory_gb']} GB, {found['system']}"


def _versions(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


if __name__ == "__main__":
    sys.exit(main())
