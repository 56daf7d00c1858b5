"""A run's folder is made once, read with clear errors, and never costs a user a file."""

import pytest
from peer import tiny_bank

from tenfold.errors import RunError
from tenfold.store import RunFolder, card, save


@pytest.fixture
def run(tmp_path):
    run = RunFolder.create(tmp_path / "runs" / "one")
    run.write("config.yaml", "seed: 1\n")
    run.write_json("plan.json", {"stages": []})
    return run


def files(path):
    return {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}


def test_what_is_written_is_read(run):
    run.write_json("results.json", [{"task": "dates", "value": 0.5, "low": float("-inf")}])
    again = RunFolder.open(run.path)
    assert again.read_json("results.json") == [{"task": "dates", "value": 0.5, "low": None}]
    assert again.config.read_text() == "seed: 1\n"


def test_a_run_is_not_written_over(run):
    with pytest.raises(RunError, match=r"there is a run at .*one already; resume it, overwrite it, or name another"):
        RunFolder.create(run.path)
    assert files(run.path) == {"config.yaml", "plan.json"}


def test_resuming_keeps_everything(run):
    run.append_metrics({"step": 1})
    assert RunFolder.open(run.path).metrics() == [{"step": 1}]


def test_overwriting_clears_the_run_and_nothing_else(run):
    run.append_metrics({"step": 1})
    (run.path / "adapters" / "dates").mkdir(parents=True)
    (run.path / "notes.txt").write_text("mine")
    RunFolder.create(run.path, overwrite=True)
    assert [path.name for path in run.path.iterdir()] == ["notes.txt"]


def test_a_run_that_stopped_before_its_plan_can_be_overwritten(tmp_path):
    RunFolder.create(tmp_path / "a").write("config.yaml", "seed: 1\n")
    with pytest.raises(RunError, match=r"holds 'config.yaml' and is no run"):
        RunFolder.create(tmp_path / "a")
    RunFolder.create(tmp_path / "a", overwrite=True)
    assert not files(tmp_path / "a")


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_of_something_else_is_left_alone(tmp_path, overwrite):
    (tmp_path / "config.yaml").write_text("tasks: {}")
    (tmp_path / "data.csv").write_text("a,b")
    with pytest.raises(RunError, match="and is no run; name another output_dir"):
        RunFolder.create(tmp_path, overwrite=overwrite)
    assert files(tmp_path) == {"config.yaml", "data.csv"}


def test_a_link_to_adapters_elsewhere_is_unlinked_only(run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("mine")
    (run.path / "adapters").symlink_to(tmp_path / "elsewhere")
    RunFolder.create(run.path, overwrite=True)
    assert (tmp_path / "elsewhere" / "file").read_text() == "mine"


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.write_text("x"), lambda p: p.mkdir()])
def test_no_run(tmp_path, make):
    make(tmp_path / "a")
    with pytest.raises(RunError, match=r"no run at .*a: "):
        RunFolder.open(tmp_path / "a")


def test_a_file_where_the_run_should_be(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(RunError, match=r"cannot write .*a: File exists"):
        RunFolder.create(tmp_path / "a")


def test_json_that_is_missing_or_torn(run):
    with pytest.raises(RunError, match=r"cannot read .*results.json: No such file"):
        run.read_json("results.json")
    (run.path / "results.json").write_text('[{"task"')
    with pytest.raises(RunError, match=r"results.json is not valid JSON"):
        run.read_json("results.json")


def test_metrics_survive_a_torn_last_line(run):
    assert run.metrics() == []
    run.append_metrics({"step": 1, "loss": float("nan")})
    run.append_metrics({"step": 2, "loss": 0.5})
    path = run.path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"step": 3, "lo')
    assert run.metrics() == [{"step": 1, "loss": None}, {"step": 2, "loss": 0.5}]
    run.append_metrics({"step": 3})
    assert [record["step"] for record in run.metrics()] == [1, 2, 3]
    assert path.read_bytes().count(b"\n") == 3


def test_a_first_line_that_is_torn(run):
    (run.path / "metrics.jsonl").write_bytes(b'{"st')
    assert run.metrics() == []
    run.append_metrics({"step": 1})
    assert run.metrics() == [{"step": 1}]


def test_a_broken_line_in_the_middle_is_an_error(run):
    (run.path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(RunError, match=r"metrics.jsonl:2 is not valid JSON"):
        run.metrics()


def test_what_a_checkpoint_had_not_seen_is_cut(run):
    for step in range(5):
        run.append_metrics({"step": step})
    run.cut_metrics(3)
    assert [record["step"] for record in run.metrics()] == [0, 1, 2]
    run.cut_metrics(9)
    assert len(run.metrics()) == 3


def test_adapters_are_found_by_name(run):
    assert run.adapters() == {}
    bank = tiny_bank("llama", "b", "a")
    for name in "ab":
        save(bank, name, run.adapter(name), card.describe(bank.base))
    save(bank, "a", run.adapter("a", stage=2), card.describe(bank.base))
    (run.path / "adapters" / "empty").mkdir()
    run.adapter("b").rename(run.path / "adapters" / ".b.part")  # half written when the process was killed
    assert run.adapters() == {"a": run.path / "adapters" / "a"}
    assert run.adapters(stage=2) == {"a": run.path / "stages" / "2" / "adapters" / "a"}


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up", "a/b", "/etc", "a\\b", ".hidden", "a\0b", "a\nb", "x" * 300, "C:"]
)
def test_names_that_lead_elsewhere(run, name):
    with pytest.raises(RunError, match="cannot be the name of a folder"):
        run.adapter(name)


@pytest.mark.parametrize("name", ["dates", "a.b", "mnli-2", "Übung 1", "日付"])
def test_names_that_are_fine(run, name):
    assert run.adapter(name).parent == run.path / "adapters"
