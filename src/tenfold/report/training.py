"""Training and validation losses, a panel for each thing that trains."""

from collections.abc import Sequence

from tenfold.pages.markup import element, join
from tenfold.pages.page import Section, note, plots
from tenfold.pages.style import Drawing, draw
from tenfold.report.panels import Curve, curves
from tenfold.report.source import Records, Source

MOST = 12
"""Panels; of those that are not drawn ``metrics.jsonl`` has the numbers."""


def section(source: Source) -> Section | None:
    """The curves of all seeds."""
    names = list(dict.fromkeys(line["adapter"] for lines in source.metrics for line in lines))
    if not names:
        return None
    drawings = [_draw(number, name, source) for number, name in enumerate(names[:MOST])]
    told = "Loss on the rows that train, in nats a token, as a running mean; points are the loss on validation rows."
    more = f" {len(names) - MOST} more are in metrics.jsonl." if len(names) > MOST else ""
    return Section("Training", join([note(told + more), plots(drawings), _best(source, names)]), drawings)


def curve(lines: Records, name: str, label: str = "") -> Curve:
    """What trains under a name, the steps of its stages after each other."""
    train, validation, passed, stage, last = [], [], 0, None, 0
    for line in lines:
        if line["adapter"] != name:
            continue
        if line["stage"] != stage:
            passed, stage = last, line["stage"]
        last = passed + line["step"]
        if line.get("loss") is not None:
            train.append((last, line["loss"]))
        if line.get("validation_loss") is not None:
            validation.append((last, line["validation_loss"]))
    return Curve(label, train, validation)


def _draw(number: int, name: str, source: Source) -> Drawing:
    several = len(source.metrics) > 1
    labels = [f"seed {folder.path.name.removeprefix('seed-')}" if several else "" for folder in source.runs]
    given = [curve(lines, name, label) for lines, label in zip(source.metrics, labels, strict=True)]
    return draw(
        f"curves-{number}", f"training and validation loss of {name} by step", lambda axes: curves(axes, given, name)
    )


def _best(source: Source, names: Sequence[str]) -> object:
    """The least validation loss of each, where there was validation."""
    said = []
    for name in names:
        every = [curve(lines, name).validation for lines in source.metrics]
        best = [min(points, key=lambda point: point[1]) for points in every if points]
        if best:
            losses = ", ".join(f"{loss:.4f} (step {step:,})" for step, loss in best)
            said.append(element("li", f"{name}: {losses}"))
    return join([element("h3", "Least validation loss"), element("ul", join(said), class_="learnt")]) if said else ""
