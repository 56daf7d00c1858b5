"""A run that was killed, or stopped with Ctrl-C, goes on to the numbers of one that was not."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from pressing import Press

from tenfold import training
from tenfold.adapters import activations, beginnings
from tenfold.errors import RunError
from tenfold.training import loop

CHILD = pathlib.Path(__file__).with_name("child.py")
TIMES = {"elapsed", "seconds", "tokens_per_second"}
LOG, TENSORS = "tenfold.training.watch:Watch.log", "tenfold.training.checkpoints:save_file"
SAVED, MEASURED = "tenfold.store:save", "tenfold.evaluate:evaluate"


def child(config, target, count, number="SIGKILL", *resume):
    """Train in a process that gets the signal after so many calls of the target -> the finished process."""
    yaml = config.output_dir.with_suffix(".yaml")
    command = [sys.executable, CHILD, yaml, target, str(count), number, *resume]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def killed(config, target, count):
    assert child(config, target, count).returncode == -signal.SIGKILL


def weights(folder):
    return {path.parent.name: path.read_bytes() for path in folder.glob("adapters/*/adapter_model.safetensors")}


def metrics(folder):
    """The lines of metrics.jsonl without what a clock says."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


def results(folder):
    return [{**one, "seconds": None} for one in json.loads((folder / "results.json").read_text())]


def same_run(found, wanted):
    """Every number that two runs left, to the bit."""
    assert len(weights(wanted)) == 2
    assert weights(found) == weights(wanted)
    assert metrics(found) == metrics(wanted)
    assert results(found) == results(wanted)
    best = sorted(path.relative_to(wanted) for path in wanted.glob("stages/**/*.safetensors"))
    assert best
    assert all((found / path).read_bytes() == (wanted / path).read_bytes() for path in best)
    kept = sorted(path.name for path in (found / "checkpoints").iterdir())
    assert kept[-1] == "0-000006"
    assert len(kept) <= 2


def stopped(config, step, **options):
    """Train in this process until Ctrl-C is pressed in a step."""
    finished = training.run(config, progress=Press(step), **options)
    assert finished.interrupted
    return finished


@pytest.fixture
def whole(project):
    """The folder of a run that nothing cut short."""
    return training.run(project("whole")).run.folder.path


KILLS = [
    pytest.param(LOG, 3, id="before the first checkpoint"),
    pytest.param(TENSORS, 3, id="in the middle of a checkpoint"),
    pytest.param(LOG, 8, id="beyond a checkpoint", marks=pytest.mark.slow),
    pytest.param(SAVED, 1, id="while the adapters are saved", marks=pytest.mark.slow),
    pytest.param(MEASURED, 1, id="after the evaluation, before the results are kept", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("target", "count"), KILLS)
def test_killed_and_resumed_is_as_if_never_killed(target, count, project, whole):
    config = project("killed")
    killed(config, target, count)
    finished = training.run(config, resume=True)
    assert not finished.interrupted
    same_run(finished.run.folder.path, whole)


@pytest.mark.slow
def test_killed_again_and_again(project, whole):
    config = project("killed")
    killed(config, LOG, 5)
    assert child(config, LOG, 4, "SIGKILL", "resume").returncode == -signal.SIGKILL
    assert child(config, TENSORS, 2, "SIGKILL", "resume").returncode == -signal.SIGKILL
    same_run(training.run(config, resume=True).run.folder.path, whole)


def test_ctrl_c_in_a_process_of_its_own_ends_cleanly_with_what_was_reached(project, whole):
    config = project("stopped")
    done = child(config, LOG, 5, "SIGINT")
    assert (done.returncode, done.stdout.strip()) == (0, "interrupted"), done.stderr
    folder = config.output_dir
    assert [line["step"] for line in metrics(folder) if line["adapter"] == "upper" and "loss" in line] == [1, 2, 3]
    assert weights(folder).keys() == {"upper", "sums"}
    assert not (folder / "results.json").exists()
    same_run(training.run(config, resume=True).run.folder.path, whole)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_stopped_and_resumed_is_as_if_never_stopped(step, project, whole):
    config = project("stopped")
    stopped(config, step)
    same_run(training.run(config, resume=True).run.folder.path, whole)


def test_what_an_adapter_was_born_with_is_resumed_not_made_again(project, monkeypatch):
    """PiSSA's constants and EVA's directions come out of the checkpoint, whatever this process would find."""
    begun = {"upper": {"peft_init_lora_weights": "pissa"}, "sums": {"peft_init_lora_weights": "eva"}}
    whole = training.run(project("whole", **begun)).run.folder.path
    config = project("stopped", **begun)
    stopped(config, 3)
    monkeypatch.setattr(beginnings, "draw", lambda _, w, r, __: (torch.ones(r, w.shape[1]), torch.ones(len(w), r)))
    monkeypatch.setattr(activations, "MOST_ROWS", 5)
    same_run(training.run(config, resume=True).run.folder.path, whole)


def test_stopped_in_the_last_step_is_finished(project, whole):
    finished = training.run(project("late"), progress=Press(6))
    assert not finished.interrupted
    same_run(finished.run.folder.path, whole)


def test_a_second_ctrl_c_ends_at_once_and_loses_only_what_no_checkpoint_had(project, whole):
    config = project("stopped")
    with pytest.raises(KeyboardInterrupt):
        training.run(config, progress=Press(3, times=2))
    same_run(training.run(config, resume=True).run.folder.path, whole)


def test_resuming_what_is_finished_leaves_the_same_run(project, whole):
    config = project("again")
    training.run(config)
    same_run(training.run(config, resume=True).run.folder.path, whole)


def test_resuming_obeys_what_the_run_measured(project, monkeypatch):
    config = project("auto", interleave="auto")
    stopped(config, 2)
    plan = json.loads((config.output_dir / "plan.json").read_text())
    assert plan["interleave_seconds"].keys() == {"turns", "mixed"}
    plan["interleave"], plan["way"] = "turns", {"path": "padded", "attention": "eager", "error": 0.5}
    (config.output_dir / "plan.json").write_text(json.dumps(plan))
    seen = []

    def begin(*arguments, **settings):
        seen.append(started(*arguments, **settings))
        return seen[-1]

    started = loop.begin
    monkeypatch.setattr(loop, "begin", begin)
    monkeypatch.setattr(loop, "faster_mixed", lambda *_: pytest.fail("measured again"))
    finished = training.run(config, resume=True)
    assert not seen[0].mixed
    assert finished.run.bank.base.way.path == "padded"
    assert json.loads((config.output_dir / "plan.json").read_text()) == plan


CHANGES = {
    "seed": ({"seed": 1}, "seed is 1, but was 0"),
    "learning_rate": ({"learning_rate": 0.5}, "learning_rate is 0.5, but was 0.01"),
    "lora_r": ({"lora_r": 3}, "adapters.upper.lora_r is 3, but was 2"),
    "targets": ({"lora_target_modules": ["q_proj"]}, 'lora_target_modules is ["q_proj"], but was unset'),
    "rows": ({"upper": {"max_rows": 8}}, "rows.upper"),
    "prompt": ({"upper": {"prompt": "{text} => "}}, "rows.upper"),
    "a task less": ({"sums": None}, "sums"),
    "dtype": ({"dtype": "bfloat16"}, 'dtype is "bfloat16", but was "float32"'),
}


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """Where a run that was stopped is kept, once it is made."""
    return tmp_path_factory.mktemp("half")


def half_run(project, half):
    """A stopped run, trained once and copied."""
    config = project()
    if not (half / "run").exists():
        stopped(config, 2)
        shutil.copytree(config.output_dir, half / "run")
    elif not config.output_dir.exists():
        shutil.copytree(half / "run", config.output_dir)
    return config


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_config_is_refused_by_name(change, project, half):
    folder = half_run(project, half).output_dir
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    settings, told = CHANGES[change]
    with pytest.raises(RunError) as caught:
        training.run(project(**settings), resume=True)
    assert told in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_changes_no_number_may_change(project, half):
    half_run(project, half)
    other = project(save_steps=5, logging_steps=3, gradient_checkpointing=True, upper={"metrics": ["loss"]})
    assert not training.run(other, resume=True).interrupted


TEARS = {
    "no state": ("state.json", None),
    "half a state": ("state.json", 100),
    "an empty state": ("state.json", 0),
    "no tensors": ("upper.safetensors", None),
    "half the tensors": ("sums.safetensors", 2000),
    "other tensors": ("sums.safetensors", "upper.safetensors"),
}


@pytest.mark.parametrize("tear", TEARS)
def test_a_torn_checkpoint_is_said_plainly(tear, project, half):
    config = half_run(project, half)
    (checkpoint,) = (config.output_dir / "checkpoints").iterdir()
    name, what = TEARS[tear]
    file = checkpoint / name
    if what is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:what] if isinstance(what, int) else (checkpoint / what).read_bytes())
    with pytest.raises(RunError, match=r"0-000002 is torn") as caught:
        training.run(config, resume=True)
    assert "\n" not in str(caught.value)


def test_what_a_kill_left_half_written_is_no_checkpoint(project, half):
    config = half_run(project, half)
    (config.output_dir / "checkpoints" / ".0-000004.part").mkdir()
    assert not training.run(config, resume=True).interrupted


def test_a_run_in_the_way_is_one_clear_error_and_stays(project, half, monkeypatch):
    config = half_run(project, half)
    before = sorted(path for path in config.output_dir.rglob("*"))
    monkeypatch.setattr("tenfold.runs.load_base", lambda *_: pytest.fail("loaded the base before saying so"))
    with pytest.raises(RunError, match="there is a run at") as caught:
        training.run(config)
    assert "\n" not in str(caught.value)
    assert sorted(path for path in config.output_dir.rglob("*")) == before


def test_overwrite_clears_the_run_that_is_there(project, half, whole):
    config = half_run(project, half)
    same_run(training.run(config, overwrite=True).run.folder.path, whole)


def test_a_mistake_does_not_cost_the_run_that_was_to_be_overwritten(project, half):
    folder = half_run(project, half).output_dir
    (folder.parent / "upper.jsonl").write_text('{"text": "ab"}\n')
    with pytest.raises(Exception, match="answer"):
        training.run(project(), overwrite=True)
    assert (folder / "plan.json").is_file()
    assert weights(folder)


def test_without_a_run_there_is_nothing_to_resume(project):
    with pytest.raises(RunError, match="no run at"):
        training.run(project(), resume=True)


def test_the_handler_of_ctrl_c_is_given_back(project):
    before = signal.getsignal(signal.SIGINT)
    stopped(project(), 1)
    assert signal.getsignal(signal.SIGINT) is before
