"""A trial of a sweep comes to what the same config comes to by itself."""

import pytest

from tenfold import sweep, training
from tenfold.config import Config
from tenfold.store import RunFolder
from tenfold.sweep.points import Point

GRID = {"lora_r": [2, 4], "learning_rate": [0.003, 0.01]}


def alone(given, trial, folder):
    """The validation and training losses of a trial's config trained by ``tenfold train``, by task."""
    point = Point(trial["group"], trial["settings"], trial["seed"])
    config = given.configure(point).replace(output_dir=folder, interleave="turns")
    lines = training.run(config).run.folder.metrics()
    found = {}
    for key, kind in (("validation_loss", "validation"), ("loss", "train")):
        for line in lines:
            if key in line:
                found.setdefault(line["adapter"], {}).setdefault(kind, []).append([line["step"], line[key]])
    return found


def same(curves, expected):
    assert curves.keys() == expected.keys()
    for task, own in curves.items():
        for kind, points in own.items():
            assert [step for step, _ in points] == [step for step, _ in expected[task][kind]]
            assert [y for _, y in points] == pytest.approx([y for _, y in expected[task][kind]], rel=1e-4)


@pytest.mark.parametrize("beside", [1, 3])
def test_trials_come_to_what_each_comes_to_alone(project, tmp_path, beside):
    """Dropout, seeds and several tasks included; the last trials leave a batch that is not full."""
    given = project(search=GRID, side_by_side=beside, seeds=[3, 5], top={"lora_dropout": 0.1}, sums={"steps": 4})
    found = sweep.run(given).found
    assert [one["state"] for one in found["trials"]] == ["complete"] * 8
    for trial in (found["trials"][0], found["trials"][7]):
        expected = alone(given, trial, tmp_path / f"alone {trial['number']}")
        same(trial["curves"], expected)
        last = {task: own["validation"][-1][1] for task, own in trial["curves"].items()}
        assert trial["values"] == last


def test_kinds_side_by_side_come_to_what_each_comes_to_alone(project, tmp_path):
    given = project(search={"adapter": ["lora", "dora", "fff", "lora+fff"]}, side_by_side=4, top={"lora_r": None})
    for trial in sweep.run(given).found["trials"]:
        same(trial["curves"], alone(given, trial, tmp_path / trial["kind"]))


def test_stages_of_several_trials_go_side_by_side(project, tmp_path):
    given = project(
        search={"train_ratio": [0.5, 1.0]}, side_by_side=2, top={"schedule": "sequential", "eval_steps": None}, sums={}
    )
    found = sweep.run(given).found
    assert [one["state"] for one in found["trials"]] == ["complete"] * 2
    config = given.configure(Point("", {"train_ratio": 0.5}, 0)).replace(output_dir=tmp_path / "alone")
    lines = training.run(config).run.folder.metrics()
    last = [line["loss"] for line in lines if line["stage"] == 3 and "loss" in line]
    trained = found["trials"][0]["curves"]["upper"]["train"]
    assert [loss for step, loss in trained if step > 12] == pytest.approx(last, rel=1e-4)


def test_a_trial_that_diverges_fails_alone(project, tmp_path):
    given = project(search={"learning_rate": [0.01, 1e30]}, side_by_side=2, top={"lr_scheduler": "constant"})
    good, bad = sweep.run(given).found["trials"]
    assert (good["state"], bad["state"]) == ("complete", "failed")
    assert "lower its learning_rate" in bad["reason"]
    same(good["curves"], alone(given, good, tmp_path / "alone"))


def test_the_best_trials_config_trains_it(project, tmp_path):
    given = project(search=GRID)
    found = sweep.run(given).found
    best = min(found["trials"], key=lambda one: one["values"]["upper"])
    assert found["best"] == best["number"]
    config = Config.load(tmp_path / "sweep" / "best.yaml")
    run = training.run(config).run
    assert config.output_dir == tmp_path / "sweep" / "best"
    last = [line["validation_loss"] for line in RunFolder(run.folder.path).metrics() if "validation_loss" in line][-1]
    assert last == pytest.approx(best["values"]["upper"], rel=1e-4)


def test_trials_that_change_the_rows_have_rows_of_their_own(project, tmp_path):
    given = project(search={"tasks.upper.max_rows": [4, 9]})
    for trial in sweep.run(given).found["trials"]:
        same(trial["curves"], alone(given, trial, tmp_path / str(trial["number"])))


def test_more_trials_in_one_pass_only_where_that_is_faster(project, monkeypatch):
    seconds = {2: 1.5, 4: 2.4, 8: 4.7}
    monkeypatch.setattr(
        "tenfold.training.loop.faster_mixed",
        lambda state: {"turns": float(len(state.stage.lanes)), "mixed": seconds[len(state.stage.lanes)]},
    )
    widths = []

    def train(self, courses, interrupt):
        widths.append(len(courses))
        raise KeyboardInterrupt

    monkeypatch.setattr("tenfold.sweep.workshop.Bench.train", train)
    given = project(search={"lora_r": [1, 2, 3, 4, 5, 6, 7, 8, 9]})
    with pytest.raises(KeyboardInterrupt):
        sweep.run(given)
    assert widths == [4]  # 0.75, 0.6, then 0.5875 of a trial's time alone, which is not worth it
