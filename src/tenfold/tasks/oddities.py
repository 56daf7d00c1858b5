"""What looks wrong in splits of rows, one sentence for each thing."""

from collections.abc import Sequence

from scipy.stats import chi2_contingency

from tenfold.tasks.splits import SplitReport

RARE = 10  # times that the most frequent label outnumbers one that is worth a word
SHIFT = 0.1  # of label shares between the training rows and those that measure,
CHANCE = 0.01  # where that is not likely for rows drawn alike


def find_oddities(reports: Sequence[SplitReport]) -> list[str]:
    """Sentences about cut rows, repeats, and labels that are alone, rare, new, or otherwise spread than in train."""
    trained = {one.task: one for one in reports if one.split == "train"}
    shifts = [text for one in reports if one.task in trained for text in _shifts(one, trained[one.task])]
    return [*(text for one in reports for text in _oddities(one)), *shifts]


def _oddities(one: SplitReport) -> list[str]:
    found = []
    if one.truncated:
        found.append(f"{one.truncated} of {one.rows} rows are cut to sequence_len {one.sequence_len}")
    if one.duplicates:
        other = f", {one.contradictions} of them with another response" if one.contradictions else ""
        found.append(f"{one.duplicates} of {one.rows} rows repeat an earlier row's input{other}")
    if len(one.labels) == 1 and one.rows > 1:
        found.append(f"every row has the label {next(iter(one.labels))!r}")
    most = max(one.labels.values(), default=0)
    if rare := [label for label, count in one.labels.items() if count * RARE <= most]:
        found.append(f"the label {next(iter(one.labels))!r} has {RARE} times the rows of {_shown(rare)} or more")
    return [f"{one.task} {one.split}: {text}" for text in found]


def _shifts(one: SplitReport, train: SplitReport) -> list[str]:
    """How the labels of a split that measures differ from those that are learnt."""
    if one is train or not one.labels or not train.labels:
        return []
    new = [label for label in one.labels if label not in train.labels]
    if new:
        return [f"{one.task} {one.split}: no training row has the label {_shown(new)}"]
    moved = sum(abs(one.labels.get(k, 0) / one.rows - n / train.rows) for k, n in train.labels.items()) / 2
    if moved <= SHIFT or _chance(one, train) > CHANCE:
        return []
    return [f"{one.task} {one.split}: {moved:.0%} of the rows would need another label for the shares of train"]


def _chance(one: SplitReport, train: SplitReport) -> float:
    """How likely labels so far apart are where both splits are drawn alike (chi-squared test)."""
    counts = [[split.labels.get(label, 0) for label in train.labels] for split in (one, train)]
    return float(chi2_contingency(counts).pvalue)


def _shown(labels: Sequence[str], most: int = 3) -> str:
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(map(repr, labels[:most])) + more
