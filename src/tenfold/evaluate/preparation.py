"""What an evaluation set needs before any model runs: its metrics, its tokens, its options."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tenfold.base.families import Family
from tenfold.base.layout import Row
from tenfold.base.model import Base, Coding
from tenfold.errors import ConfigError, DataError, nearest
from tenfold.evaluate.metrics import Measure, Need, find_metrics
from tenfold.generate.request import positions
from tenfold.tasks import Encoded, Task, encode_all
from tenfold.tasks.examples import Example
from tenfold.tasks.settings import TaskSettings

SLACK = 8


@dataclass(frozen=True)
class Prepared:
    """One evaluation set of one task, tokenised. options: for each example each option's row."""

    task: Task
    split: str
    measures: list[Measure]
    examples: Sequence[Example]
    encoded: list[Encoded]
    options: list[dict[str, Row]]
    max_new_tokens: int

    def with_loss(self) -> "Prepared":
        """The same with the loss among its metrics, whatever the task names."""
        named = any(measure.name == "loss" for measure in self.measures)
        return self if named else replace(self, measures=[*self.measures, *find_metrics(["loss"])])

    def needs(self, need: Need) -> bool:
        """Whether any of the metrics looks at this."""
        return any(measure.need is need for measure in self.measures)


def prepare(task: Task, split: str, base: Base) -> Prepared:
    """Tokenise one split. No model runs, so that mistakes can be found before training.

    Raises ConfigError for metrics that are unknown or lack options, DataError for a split that is not
    there or empty and for a row that the base has no positions for.
    """
    examples = split_examples(task, split)
    measures = choose_metrics(task, examples, base.family)
    encoded = encode_all(examples, base.coding, task.settings)
    _require_room(task, split, encoded, base)
    asked = any(measure.need is Need.OPTIONS for measure in measures)
    options = _option_rows(task, examples, base.coding) if asked else [{} for _ in examples]
    longest = max(one.answer for one in encoded)
    limit = task.settings.max_new_tokens or longest + max(SLACK, longest // 4)
    return Prepared(task, split, measures, examples, encoded, options, limit)


def _require_room(task: Task, split: str, encoded: list[Encoded], base: Base) -> None:
    limit = positions(base)
    for number, one in enumerate(encoded):
        longest = max(len(one.row.tokens), len(one.row.source))
        if limit is not None and longest > limit:
            raise DataError(
                f"tasks.{task.name}: row {number + 1} of {split!r} has {longest} tokens, "
                f"{base.name} has {limit} positions; set sequence_len to at most {limit}"
            )


def split_examples(task: Task, split: str) -> Sequence[Example]:
    """The examples of ``train``, ``validation`` or a named evaluation set. Raises DataError."""
    known = {**task.splits(), **task.eval_sets}
    there = [name for name, examples in known.items() if examples]
    if split not in there:
        has = ", ".join(there) or "none"
        raise DataError(f"task {task.name!r} has no rows in split {split!r}; it has {has}{nearest(split, there)}")
    return known[split]


def choose_metrics(task: Task, examples: Sequence[Example], family: Family = "causal") -> list[Measure]:
    """The task's metrics; where it names none, accuracy and loss for classification, option likelihood
    where the options are known, loss for rows that are tokens already, else exact match and loss."""
    options = find_options(task.settings, examples)
    usual = ["loss"] if examples[0].tokens else ["option_likelihood"] if options else ["exact_match", "loss"]
    names = task.settings.metrics or (["accuracy", "loss"] if family == "classification" else usual)
    try:
        measures = find_metrics(names)
    except ConfigError as error:
        raise ConfigError(f"tasks.{task.name}.metrics: {error}") from None
    for measure in measures:
        if measure.need is Need.OPTIONS and not options:
            raise ConfigError(
                f"tasks.{task.name}.metrics: {measure.name} needs all possible responses: set options "
                "(or labels that are the whole response)"
            )
    return measures


def find_options(settings: TaskSettings, examples: Sequence[Example]) -> list[str] | None:
    """All possible responses: ``options``, or the texts of ``labels`` where each response is just one."""
    known = settings.classes
    return known if known and all(example.response.strip() in known for example in examples) else None


def _option_rows(task: Task, examples: Sequence[Example], coding: Coding) -> list[dict[str, Row]]:
    """For each example each option's row, with the option and its EOS supervised."""
    options = find_options(task.settings, examples) or []
    others = [replace(e, response=_instead(e.response, option)) for e in examples for option in options]
    rows = [_answer_only(one) for one in encode_all(others, coding, task.settings)]
    width = len(options)
    return [dict(zip(options, rows[i * width : (i + 1) * width], strict=True)) for i in range(len(examples))]


def _instead(response: str, option: str) -> str:
    """The option with the white space that the response has around it."""
    start = len(response) - len(response.lstrip())
    return response[:start] + option + response[start + len(response.strip()) :]


def _answer_only(encoded: Encoded) -> Row:
    start = len(encoded.row.tokens) - encoded.answer
    return replace(encoded.row, supervised=[False] * start + [True] * encoded.answer)
