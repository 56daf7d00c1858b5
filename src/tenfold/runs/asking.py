"""From a text, or the columns of a task's template, to an answer by a composition of adapters."""

import math
from collections.abc import Mapping, Sequence

from tenfold import tasks
from tenfold.adapters import BASE, Bank, Composition, compose
from tenfold.base.chat import end_of_turn
from tenfold.errors import ConfigError, nearest
from tenfold.evaluate import BASE_LABEL
from tenfold.generate import Engine, Request, Sampling
from tenfold.progress import SILENT, Progress
from tenfold.tasks.examples import Prompt, make_prompt
from tenfold.tasks.formats import fill_prompt
from tenfold.tasks.prompts import Template
from tenfold.tasks.settings import TaskSettings

MOST_NEW_TOKENS = 128


def mix(adapter: str, known: Mapping[str, Composition]) -> Composition:
    """What ``base``, a name, or ``a:0.5+b:0.5`` means, where each name of ``known`` means a composition.

    Raises ConfigError for a name that is not known and a weight that is no finite number.
    """
    if adapter == BASE_LABEL:
        return BASE
    parts = [part.partition(":") for part in adapter.split("+")]
    for name, _, _ in parts:
        if name not in known:
            there = [*known, BASE_LABEL]
            raise ConfigError(f"no adapter {name!r}; there are: {', '.join(there)}{nearest(name, there)}")
    try:
        weights = [float(weight or 1) for _, _, weight in parts]
    except ValueError:
        weights = [math.nan]
    if not all(map(math.isfinite, weights)):
        raise ConfigError(f"adapter {adapter!r}: a weight must be a number, as in a:0.5+b:0.5")
    return compose(*((one, w * x) for (name, _, _), x in zip(parts, weights, strict=True) for one, w in known[name]))


def answer(
    bank: Bank,
    inputs: Sequence[str | Mapping[str, str]],
    composition: Composition,
    settings: TaskSettings,
    *,
    max_new_tokens: int | None = None,
    sampling: Sampling | None = None,
    stop: Sequence[str] | None = None,
    progress: Progress = SILENT,
) -> list[str]:
    """Answers to texts, or to the columns of a task's template; what is not said is the task's."""
    longest = (settings.max_new_tokens or MOST_NEW_TOKENS) if max_new_tokens is None else max_new_tokens
    stops = tuple(settings.stop if stop is None else stop)
    eos, choices = frozenset(end_of_turn(bank.base.tokenizer, bank.base.model)), tuple(settings.classes)
    prompts = [tasks.prompt_tokens(make_request(one, settings), bank.base.coding) for one in inputs]
    requests = [Request(p, composition, longest, sampling or Sampling(), stops, eos, choices) for p in prompts]
    return [completion.text for completion in Engine(bank).generate(requests, progress)]


def spread(given: str | Mapping[str, str], settings: TaskSettings) -> str | Mapping[str, str]:
    """A text of as many lines as the task's template has columns as those columns; anything else as it is.

    So is what the router learnt from rows of several columns: each on lines of its own.
    """
    columns = Template.parse(settings.prompt).columns if settings.prompt is not None else ()
    lines = given.split("\n") if isinstance(given, str) else []
    return dict(zip(columns, lines, strict=True)) if len(lines) == len(columns) > 1 else given


def make_request(given: str | Mapping[str, str], settings: TaskSettings) -> Prompt:
    """The prompt of one request: columns fill the task's template, and so does a text where it has one column.

    Raises ConfigError for a text where the template has several columns, DataError for a missing column.
    """
    if not isinstance(given, str):
        return fill_prompt(given, settings)
    if settings.prompt is None:
        return (
            fill_prompt({"instruction": given}, settings)
            if settings.data_format == "alpaca"
            else make_prompt(given, settings)
        )
    columns = list(dict.fromkeys(Template.parse(settings.prompt).columns))
    if len(columns) > 1:
        raise ConfigError(f"the task's prompt has the columns {', '.join(columns)}; give --column NAME=VALUE for each")
    return fill_prompt({columns[0]: given}, settings) if columns else make_prompt(given, settings)
