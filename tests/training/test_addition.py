"""A new task for a finished run: what it adds, what it leaves alone, and that it is all or nothing."""

import json

import pytest
import yaml
from lanes import DOWN
from test_resume import results, weights
from typer.testing import CliRunner

import tenfold
from tenfold import training
from tenfold.cli import application
from tenfold.config import Config
from tenfold.errors import ConfigError, RunError, TenfoldError
from tenfold.store import atomic
from tenfold.training import addition

STACKED = {"schedule": "sequential", "sums": {"num_epochs": None}, "steps": 3}


def task_file(folder, **tasks):
    path = folder / "more.yaml"
    path.write_text(yaml.safe_dump({"tasks": tasks or {"down": DOWN}}))
    return path


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_beside_adapters_of_their_own_nothing_changes(project):
    config = project()
    folder = training.run(config).run.folder.path
    before, scores = weights(folder), results(folder)
    added = addition.add(folder, task_file(config.folder))
    after = weights(folder)
    assert {name: after[name] for name in before} == before
    assert after.keys() == {*before, "down"}
    assert [one for one in results(folder) if one["task"] != "down"] == scores
    assert {(one.task, one.adapter) for one in added.results} == {("down", "base"), ("down", "down")}
    assert {one.before.task for one in added.changes} == {"upper", "sums"}
    assert all(one.before.value == one.after.value for one in added.changes)
    again = tenfold.load(folder)
    assert list(again.config.tasks) == ["upper", "sums", "down"]
    assert again.generate(["AB = "], "down", task="upper") == added.run.generate(["AB = "], "down", task="upper")
    assert not list(folder.parent.glob(".*"))
    assert (folder / "added/down/metrics.jsonl").is_file()


def test_the_router_knows_it_afterwards(project):
    config = project(router="auto")
    folder = training.run(config).run.folder.path
    assert set(tenfold.load(folder).router.tasks) == {"upper", "sums"}
    addition.add(folder, task_file(config.folder))
    assert set(tenfold.load(folder).router.tasks) == {"upper", "sums", "down"}


def test_it_trains_what_a_run_of_it_alone_trains(project):
    config = project(sums=None)
    folder = training.run(config).run.folder.path
    addition.add(folder, task_file(config.folder))
    alone = training.run(project("alone", upper=None, sums=None, others={"down": DOWN})).run.folder.path
    assert weights(folder)["down"] == weights(alone)["down"]


@pytest.mark.parametrize("first", [False, True])
def test_stacked_it_learns_over_all_that_there_is(first, project):
    config = project(**STACKED, finetune_first=first)
    folder = training.run(config).run.folder.path
    before = weights(folder)
    added = addition.add(folder, task_file(config.folder))
    assert {name: weights(folder)[name] for name in before} == before
    (lane,) = json.loads((folder / "added/down/plan.json").read_text())["stages"][0]["lanes"]
    names = [*(["sums"] if first else ["sums", "upper"]), "down"]
    assert [name for name, _ in lane["feeds"][0]["composition"]] == names
    assert lane["learners"] == ["down"]
    told = {(one.before.task, one.before.adapter, one.after.adapter) for one in added.changes}
    old, new = ("sums", "sums+down") if first else ("upper+sums", "upper+sums+down")
    assert ("sums", old, new) in told
    moved = [one for one in added.changes if one.before.task == "upper"]
    assert any(one.before.value != one.after.value for one in moved)
    assert tenfold.load(folder).composition("down+sums")


def test_a_failure_leaves_the_run_as_it_was(project, monkeypatch):
    config = project(steps=1)
    folder = training.run(config).run.folder.path
    before = everything(folder)
    monkeypatch.setattr(atomic, "_put", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(RunError, match="No space left"):
        addition.add(folder, task_file(config.folder))
    monkeypatch.undo()
    assert everything(folder) == before
    addition.add(folder, task_file(config.folder))


MISTAKES = {
    "there already": ({"upper": DOWN}, r"more.yaml:2: tasks.upper: is in the run already"),
    "unknown key": ({"down": {**DOWN, "lora_rank": 2}}, r"more.yaml:\d+: tasks.down.lora_rank: unknown key"),
    "no rows": ({"down": {**DOWN, "path": "gone.jsonl"}}, r"more.yaml:\d+: tasks.down.path: no such file"),
    "the base": ({"down": {**DOWN, "adapter": "full"}}, r"tasks.down.adapter|base"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_and_cost_nothing(mistake, project):
    config = project(steps=1)
    folder = training.run(config).run.folder.path
    before = everything(folder)
    tasks, told = MISTAKES[mistake]
    with pytest.raises(TenfoldError, match=told) as caught:
        addition.add(folder, task_file(config.folder, **tasks))
    assert "\n" not in str(caught.value)
    assert everything(folder) == before


def test_only_tasks_can_be_added_and_not_to_one_adapter_of_all(project):
    config = project(steps=1)
    folder = training.run(config).run.folder.path
    (config.folder / "more.yaml").write_text("tasks: {down: {path: upper.jsonl}}\nlora_r: 2\n")
    with pytest.raises(ConfigError, match=r"more.yaml:2: lora_r: only tasks can be added"):
        addition.add(folder, config.folder / "more.yaml")
    with pytest.raises(ConfigError, match=r"no.yaml: cannot be read: No such file"):
        addition.add(folder, config.folder / "no.yaml")
    plain = {"lora_dropout": None, "lora_r": None, "num_epochs": None}
    mixed = training.run(project("mixed", schedule="mixture", sums=plain, steps=1)).run.folder.path
    with pytest.raises(RunError, match="one adapter is trained on all tasks"):
        addition.add(mixed, task_file(config.folder))


def test_the_command_shows_old_tasks_before_and_after(project):
    config = project(steps=1)
    folder = training.run(config).run.folder.path
    arguments = ["add", str(folder), str(task_file(config.folder))]
    result = CliRunner().invoke(application(arguments), arguments)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert any(line.startswith("old task") and "before" in line for line in lines)
    assert any(line.startswith("upper") and line.rstrip().endswith("the same") for line in lines)
    assert Config.load(folder / "config.yaml").task("down").adapters
