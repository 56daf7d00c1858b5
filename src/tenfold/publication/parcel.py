"""What is sent: the files of adapters, with the base by the name that others know it by, and a card."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenfold import evaluate
from tenfold.config import Config
from tenfold.errors import AdapterError, ConfigError, RunError, nearest
from tenfold.publication import readme
from tenfold.publication.readme import Shown
from tenfold.store import RunFolder, adapter, atomic, card, documents
from tenfold.store.run import PLAN, RESULTS
from tenfold.tasks.sources import describe

HUB = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
README = "README.md"


@dataclass(frozen=True)
class Parcel:
    """files: what stands in the repository, by its path there; the card among them. One adapter stands at the top, so
    that PEFT and vLLM find it by the repository's name, several in a folder each.
    """

    repo_id: str
    files: Mapping[str, bytes]

    @property
    def card(self) -> str:
        """The model card."""
        return self.files[README].decode()

    def write(self, folder: Path) -> None:
        """Put the files into a folder."""
        for name, content in self.files.items():
            atomic.write(folder / name, content)


def pack(
    run: Path,
    repo_id: str,
    *,
    names: Sequence[str] | None = None,
    base_model: str | None = None,
    licence: str | None = None,
) -> Parcel:
    """The adapters of a run (those named, or all) as they would be sent to a repository.

    base_model: the base's id on a hub, where the run has it from elsewhere. Raises ConfigError for a name that is no
    repository's, a base that others cannot find and an adapter that is not there, RunError for a folder that is no
    run, has no adapters, or trained their base itself.
    """
    if not HUB.fullmatch(repo_id) or "--" in repo_id or ".." in repo_id:
        raise ConfigError(f"{repo_id!r} is no name of a repository; it must be OWNER/NAME")
    folder = RunFolder.open(run)
    config = Config.load(folder.config, require_files=False)
    chosen = _chosen(folder, names)
    base = _base(config, folder, base_model)
    shown = [_show(config, folder, name, place) for name, place in chosen.items()]
    files = {README: readme.write(repo_id, base, shown, licence).encode()}
    for name, place in chosen.items():
        before = f"{name}/" if len(chosen) > 1 else ""
        files |= {f"{before}{file}": content for file, content in _files(place, base).items()}
    return Parcel(repo_id, files)


def _chosen(folder: RunFolder, names: Sequence[str] | None) -> dict[str, Path]:
    there = folder.adapters()
    if not there:
        raise RunError(f"{folder.path} has no adapters to send")
    for name in names or ():
        if name not in there:
            raise ConfigError(f"no adapter {name!r}; there are: {', '.join(there)}{nearest(name, list(there))}")
    return {name: there[name] for name in names or there}


def _base(config: Config, folder: RunFolder, given: str | None) -> str:
    if folder.base.is_dir():
        raise RunError(f"{folder.path} trained its base, and its adapters fit no other; tenfold export makes a model")
    name = given or config.base_model
    if not HUB.fullmatch(name) or Path(name).exists():
        raise ConfigError(
            f"base {name!r} is no id on a hub, where others look for it; name it: --base-model OWNER/NAME"
        )
    return name


def _show(config: Config, folder: RunFolder, name: str, place: Path) -> Shown:
    """What the card says of one adapter: its own card, its tasks' rows and results."""
    found = card.read(place)
    users = config.users(name)
    labels = {(task.name, task.label) for task in users}
    measured = evaluate.read_results(folder.path / RESULTS)
    results = [
        one
        for one in measured
        if one.stage is None
        and (one.task, one.adapter) in labels | {(task.name, evaluate.BASE_LABEL) for task in users}
    ]
    sources = {
        f"{task.name} {key}".removesuffix(" path"): Path(describe(source)).name if source.path else describe(source)
        for task in users
        for key, source in {"path": task.task.source(), **task.task.others()}.items()
        if source.path or source.dataset_name
    }
    return Shown(
        name,
        settings=documents.read_object(place / adapter.SETTINGS, AdapterError),
        card=found,
        results=results,
        sources=sources,
        rows=_rows(folder, [task.name for task in users]),
        datasets=[task.task.dataset_name for task in users if task.task.dataset_name],
    )


def _rows(folder: RunFolder, tasks: Sequence[str]) -> dict[str, int]:
    """How many training rows of each task the run's plan has."""
    stages = folder.read_json(PLAN).get("stages", [])
    feeds = [feed for stage in stages for lane in stage["lanes"] for feed in lane["feeds"]]
    return {task: most for task in tasks if (most := max((f["rows"] for f in feeds if f["task"] == task), default=0))}


def _files(place: Path, base: str) -> dict[str, bytes]:
    """The adapter's files, in which the base has the name that others know it by."""
    settings = documents.read_object(place / adapter.SETTINGS, AdapterError)
    files = {
        adapter.SETTINGS: documents.text({**settings, "base_model_name_or_path": base}),
        adapter.TENSORS: (place / adapter.TENSORS).read_bytes(),
    }
    if found := card.read(place):
        files[card.NAME] = documents.text(found.model_copy(update={"base_model": base}))
    return files
