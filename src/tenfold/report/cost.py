"""What a run cost: time, memory, parameters, tokens a second, and how near that is to what the machine can do."""

from collections.abc import Iterable, Sequence
from typing import Any

from tenfold.pages.markup import Markup, element, join, table
from tenfold.pages.page import Section, facts, note
from tenfold.report.source import Records, Source

TRAINED, FROZEN = 6, 4
"""Operations for each weight that a token meets: forward, and backward to its input and, where it trains, itself."""
TOLD = (
    "Tokens are those that ran, of what rows have in common one copy. The share of the peak counts the base's own "
    "matrix products alone ({operations} operations for each weight and token), neither attention, head nor adapters, "
    "beside the rate of large products on the same device: what the arithmetic units did is more."
)


def section(source: Source) -> Section | None:
    """Figures of the first seed's run, and a line for each thing that trained."""
    lines = next(iter(source.metrics), [])
    if not lines:
        return None
    steps, based = _steps(lines, source.plan.get("interleave") == "mixed"), _trains_base(source.plan)
    tokens, seconds = (sum(part) for part in zip(*steps, strict=True))
    rate, operations = tokens / max(seconds, 1e-9), TRAINED if based else FROZEN
    given = [
        ("training, all included", duration(elapsed(lines))),
        ("tokens a second", f"{rate:,.0f}"),
        *_memory(source.machine),
        *_share(source.machine, rate, operations),
    ]
    headers = ("adapter", "trainable", "share of the base", "steps", "rows", "tokens that counted", "seconds measuring")
    rows = [_row(name, lines, source) for name in dict.fromkeys(line["adapter"] for line in lines)]
    several = f" Of the first of {len(source.runs)} seeds." if len(source.runs) > 1 else ""
    told = note(TOLD.format(operations=operations) + several)
    return Section("Cost", join([facts(given), table(headers, rows, name="cost"), told]))


def elapsed(lines: Records) -> float:
    """Seconds of training with its validation; the clock begins again with each stage and each time a run goes on."""
    total, last = 0.0, 0.0
    for line in lines:
        total += line["elapsed"] - last if line["elapsed"] >= last else line["elapsed"]
        last = line["elapsed"]
    return total


def duration(seconds: float) -> str:
    """``42 s``, ``5 min 9 s``, ``2 h 4 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """Bytes as GB or MB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _steps(lines: Iterable[dict[str, Any]], mixed: bool) -> list[tuple[int, float]]:
    """(tokens, seconds) of every step that was logged: of lanes in one pass the tokens are those of the pass."""
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for line in lines:
        if "pass_tokens" in line:
            found.setdefault((line["stage"], line["step"]), []).append(line)
    total = max if mixed else sum
    return [
        (total(line["pass_tokens"] for line in own), max(line["seconds"] for line in own)) for own in found.values()
    ] or [(0, 0.0)]


def _memory(machine: dict[str, Any]) -> list[tuple[str, str]]:
    names = {"process": "peak memory of the process", "device": "peak memory on the GPU"}
    return [(names[key], size(value)) for key, value in machine.get("peak_memory", {}).items() if key in names]


def _share(machine: dict[str, Any], rate: float, operations: int) -> list[tuple[str, str]]:
    weights, peak = machine.get("weights_per_token"), machine.get("peak_gflops")
    if not weights or not peak or not rate:
        return []
    share = operations * weights * rate / 1e9 / peak
    return [("share of the machine's peak, at least", f"{100 * share:.0f}% of {peak:,.0f} GFLOP/s")]


def _trains_base(plan: dict[str, Any]) -> bool:
    return any("base" in lane["learners"] for stage in plan["stages"] for lane in stage["lanes"])


def _row(name: str, lines: Records, source: Source) -> Sequence[Markup | str]:
    own = [line for line in lines if line["adapter"] == name and "rows" in line]
    sizes = {key: value for one in source.results for key, value in (one.parameters or {}).items()}
    parts = [sizes[key] for key in sizes if key != "base" and (key == name or key.startswith(f"{name}."))]
    count, whole = sum(parts), sizes.get("base", 0)
    seconds = {
        (one.task, one.split): one.seconds for one in source.results
        if one.adapter == name and one.seconds is not None and one.seed == source.seeds[0]
    }  # fmt: skip
    return [
        name, f"{count:,}" if count else "", f"{100 * count / whole:.2f}%" if count and whole else "",
        f"{len(own):,}", f"{sum(line['rows'] for line in own):,}",
        f"{sum(line['supervised_tokens'] for line in own):,}",
        f"{sum(filter(None, seconds.values())):.1f}" if seconds else element("span", ""),
    ]  # fmt: skip
