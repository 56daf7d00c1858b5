"""The stages as the config writes them out."""

from collections.abc import Mapping
from typing import Any

from tenfold.config import Config, active
from tenfold.config.custom import BASE, adapters
from tenfold.config.custom import active as named
from tenfold.config.schedule import FeedSettings, StageSettings
from tenfold.training import plan
from tenfold.training.plan import BASE_LEARNER, Feed, Stage


def stages(config: Config, rows: Mapping[str, int], heads: bool) -> list[Stage]:
    """One stage with one lane for each entry of ``stages``."""
    found, present = [], active.start(config)
    for number, one in enumerate(config.stages):
        full = [name for name in one.rows if config.task(name).full]
        born = full if BASE in one.train else [_label(config, name) for name in one.train]
        present = list(dict.fromkeys([*present, *born]))
        found.append(_stage(config, rows, heads, one, number, present))
    return found


def _stage(
    config: Config, rows: Mapping[str, int], heads: bool, one: StageSettings, number: int, present: list[str]
) -> Stage:
    feeds = [_feed(config, rows, heads, name, feed) for name, feed in one.rows.items()]
    if BASE in one.train:
        learners = [BASE_LEARNER, *(name for name in one.rows if heads and config.task(name).full)]
    else:
        learners = [part for name in one.train for part in dict(active.meant(config, name))]
    given = one.model_dump(include={"num_epochs", "steps", "learning_rate"}, exclude_none=True)
    if "num_epochs" in given:
        given.setdefault("steps", None)
    more: dict[str, Any] = {}
    if BASE not in one.train:
        earlier = [part for name in present for part in adapters([name], config.tasks) if part not in learners]
        apart = {"apart": tuple(earlier), "orthogonality": config.orthogonality}
        more = {"distillation": config.distillation, **(apart if config.orthogonality and earlier else {})}
    name = one.name or f"stage {number}"
    lane = plan.lane(name, list(dict.fromkeys(learners)), feeds, config.training.model_copy(update=given), **more)
    return Stage(name, (lane,), tuple(present))


def _feed(config: Config, rows: Mapping[str, int], heads: bool, name: str, feed: FeedSettings) -> Feed:
    task = config.task(name)
    composition = active.together(config, task, named(feed, task), heads)
    return Feed(name, composition, plan.cut(rows[name], feed.share), task.task.weight)


def _label(config: Config, name: str) -> str:
    """The task whose adapter this is, or the adapter itself where it is none's."""
    return config.owners[name].label if name in config.owners else name
