"""One adapter (or the base itself) on all tasks at once.

Without a temperature every row comes once an epoch. With one, rows are drawn from task m at a rate of
``min(n_m, limit) ** (1 / temperature)``, n_m its rows, as T5 was trained (Raffel et al. 2020, arXiv:1910.10683, 3.5.2);
``mixture_rate`` in the tasks says the rates instead.
"""

from collections.abc import Mapping

from tenfold.adapters import Composition
from tenfold.config import Config, ResolvedTask, active
from tenfold.training import plan
from tenfold.training.plan import BASE_LEARNER, Feed, Lane, Stage


def stages(config: Config, rows: Mapping[str, int], heads: bool) -> list[Stage]:
    """One stage with one lane."""
    trained = active.trained(config)
    if any(task.full for task in trained):
        return [Stage("full", (whole(config, rows, heads),), tuple(task.label for task in trained))]
    if not trained:
        return [Stage("mixture", ())]
    first = trained[0]
    feeds = tuple(_feed(config, task, task.composition, rows) for task in trained)
    lane = plan.lane(first.label, tuple(first.adapters), feeds, first.training, distillation=config.distillation)
    return [Stage("mixture", (lane,), tuple(dict.fromkeys([*active.start(config), first.label])))]


def whole(config: Config, rows: Mapping[str, int], heads: bool) -> Lane:
    """The base on all tasks, with a head for each where it is for classification."""
    trained = active.trained(config)
    feeds = tuple(_feed(config, task, active.own(task, heads), rows) for task in trained)
    learners = (BASE_LEARNER, *(task.name for task in trained if heads))
    return plan.lane(BASE_LEARNER, learners, feeds, trained[0].training)


def _feed(config: Config, task: ResolvedTask, composition: Composition, rows: Mapping[str, int]) -> Feed:
    return Feed(task.name, composition, rows[task.name], task.task.weight, _rate(config, task, rows[task.name]))


def _rate(config: Config, task: ResolvedTask, rows: int) -> float | None:
    if config.mixture_temperature is None:
        return task.task.mixture_rate
    return float(min(rows, config.mixture_limit or rows) ** (1 / config.mixture_temperature))
