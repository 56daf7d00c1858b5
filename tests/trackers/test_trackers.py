"""Trackers with their real packages, offline: what they were given is read back from what they wrote."""

import json
import struct
import sys

import pytest
import yaml
from tiny import tiny_model
from tokens import tiny_tokenizer

import tenfold
from tenfold import cli, trackers
from tenfold.config import Config
from tenfold.errors import MissingExtraError
from tenfold.trackers import Tracking


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path_factory):
    """No account anywhere, and the trackers' own folders apart."""
    place = tmp_path_factory.getbasetemp() / "home"
    for name in ("WANDB_API_KEY", "WANDB_MODE", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "TRACKIO_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(place / name))
    monkeypatch.setenv("NETRC", str(place / "netrc"))


@pytest.fixture
def make(tmp_path):
    """Configs of one task or two on a tiny base."""
    tiny_model().save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    for name in ("one", "two"):
        made = [{"text": word, "answer": word.upper()} for word in ("ab", "cd", "ef", "gh", "ij")]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))

    def make(*names, folder="run", **top):
        path = "{}.jsonl"
        tasks = {
            name: {"path": path.format(name), "eval_path": path.format(name), "validation_path": path.format(name),
                   "prompt": "{text}: ", "response": "{answer}", "max_new_tokens": 3, "metrics": ["exact_match"]}
            for name in names or ("one",)
        }  # fmt: skip
        given = {"base_model": str(tmp_path / "base"), "output_dir": str(tmp_path / folder), "device": "cpu",
                 "steps": 4, "eval_steps": 2, "lora_r": 2, "prompt_style": "raw", "router": "none",
                 "tasks": tasks}  # fmt: skip
        return Config.parse({**given, **top}, tmp_path)

    return make


def lines(folder, key="loss"):
    return [one for one in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if key in one]


def scalars(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def wandb_records(folder):
    """Of an offline run: pieces in blocks of 32 KiB, each with checksum, length and kind (whole, first, more, last)."""
    record = pytest.importorskip("wandb.proto.wandb_internal_pb2").Record
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    data, place, part, found = path.read_bytes(), 7, b"", []
    while place < len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        part += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            found.append(record.FromString(part))
            part = b""
    return found


def history(records):
    rows = []
    for one in records:
        if one.HasField("history"):
            items = ((item.key or ".".join(item.nested_key), json.loads(item.value_json)) for item in one.history.item)
            rows.append({key: value for key, value in items if not key.startswith("_")})
    return rows


def test_tensorboard_has_every_loss_and_result(make):
    pytest.importorskip("tensorboard")
    finished = tenfold.train(make("one", "two", report_to="tensorboard"))
    folder = finished.run.folder.path
    found = scalars(folder)
    for name in ("one", "two"):
        own = [one for one in lines(folder) if one["adapter"] == name]
        assert [step for step, _ in found[f"{name}/train/loss"]] == [1, 2, 3, 4]
        assert [value for _, value in found[f"{name}/train/loss"]] == pytest.approx([one["loss"] for one in own])
        assert [value for _, value in found[f"{name}/lr"]] == pytest.approx([one["learning_rate"] for one in own])
        assert [step for step, _ in found[f"{name}/eval/loss"]] == [2, 4]
        assert len(found[f"{name}/train/tokens_per_second"]) == 4
    final = {tag: points[-1][1] for tag, points in found.items() if tag.startswith("final/")}
    assert final == pytest.approx(
        {f"final/{r.task}/{r.split}/{r.adapter}/{r.metric}": r.value for r in finished.results}
    )


def test_wandb_without_an_account_keeps_an_offline_run(make):
    pytest.importorskip("wandb")
    finished = tenfold.train(make(wandb_project="skills", wandb_name="first", wandb_log_model=True))
    folder = finished.run.folder.path
    records = wandb_records(folder)
    run = next(one.run for one in records if one.HasField("run"))
    assert (run.project, run.display_name) == ("skills", "first")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["lora_r"] == 2
    rows = history(records)
    losses = [(row["iter"], row["train/loss"]) for row in rows if "train/loss" in row]
    assert losses == [(one["step"], pytest.approx(one["loss"])) for one in lines(folder)]
    assert [row["iter"] for row in rows if "eval/loss" in row] == [2, 4]
    summary = {
        item.key or item.nested_key[0]: json.loads(item.value_json)
        for one in records if one.HasField("summary") for item in one.summary.update
    }  # fmt: skip
    for one in finished.results:
        assert summary[f"final/{one.task}/{one.split}/{one.adapter}/{one.metric}"] == pytest.approx(one.value)
    assert any(one.HasField("artifact") or one.request.HasField("log_artifact") for one in records)


def test_trackio_keeps_its_own_database(make):
    pytest.importorskip("trackio")
    finished = tenfold.train(make(folder="tracked", report_to=["trackio"]))
    storage = sys.modules["trackio.sqlite_storage"].SQLiteStorage
    logged = storage.get_logs("tenfold", "tracked")
    folder = finished.run.folder.path
    assert [row["train/loss"] for row in logged if "train/loss" in row] == pytest.approx(
        [one["loss"] for one in lines(folder)]
    )
    values = {key: value for row in logged for key, value in row.items() if key.startswith("final/")}
    assert values == pytest.approx(
        {f"final/{r.task}/{r.split}/{r.adapter}/{r.metric}": r.value for r in finished.results}
    )


def test_steps_go_on_through_stages_and_after_a_stop():
    class Kept:
        def __init__(self):
            self.rows = []

        def log(self, step, values):
            self.rows.append((step, values))

    def line(stage, step):
        return {"stage": stage, "adapter": "a", "step": step, "loss": 1.0, "learning_rate": 0.1}

    kept = Kept()
    tracking = Tracking({"kept": kept}, None, alone=True)
    for one in (line(0, 1), line(0, 2), line(1, 1), line(3, 1)):
        tracking.log(one)
    assert [step for step, _ in kept.rows] == [1, 2, 3, 4]
    assert kept.rows[0][1] == {"train/loss": 1.0, "lr": 0.1}
    again = Tracking({"kept": kept}, None, alone=False, seen=[line(0, 1), line(0, 2), line(1, 1)])
    again.log(line(1, 2))
    assert kept.rows[-1] == (4, {"a/train/loss": 1.0, "a/lr": 0.1})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of TensorBoard's own thread
def test_a_tracker_that_fails_is_one_line_and_the_run_goes_on(make):
    pytest.importorskip("tensorboard")
    notes = []

    class Notes:
        def note(self, text):
            notes.append(text)

        def start(self, what, total, unit):
            return tenfold.progress.SILENT.start(what, total, unit)

    config = make(report_to="tensorboard", folder="spoilt")
    kept = tenfold.train(make(folder="plain")).run.folder.path

    def loop(state, hooks):
        target = config.output_dir / "tensorboard"
        for path in target.iterdir():
            path.unlink()
        target.rmdir()
        target.write_text("in the way")
        tenfold.training.loop.train(state, hooks)

    finished = tenfold.train(config, progress=Notes(), loop=loop)
    assert [one["loss"] for one in lines(finished.run.folder.path)] == [one["loss"] for one in lines(kept)]
    assert finished.results


def test_one_that_raises_is_dropped_and_the_others_go_on():
    notes, kept = [], []

    class Notes:
        def note(self, text):
            notes.append(text)

    class Bad:
        def log(self, step, values):
            raise OSError("disk\nfull")

    class Good:
        def log(self, step, values):
            kept.append(step)

        def finish(self):
            kept.append("end")

    tracking = Tracking({"bad": Bad(), "good": Good()}, Notes(), alone=True)
    for step in (1, 2):
        tracking.log({"stage": 0, "adapter": "a", "step": step, "loss": 1.0})
    tracking.finish()
    assert kept == [1, 2, "end"]
    assert notes == ["bad failed and is left alone, the run goes on: OSError: disk full"]


def test_one_that_cannot_begin_is_one_line(make):
    pytest.importorskip("tensorboard")
    notes = []

    class Notes:
        def note(self, text):
            notes.append(text)

    config = make(report_to="tensorboard")
    config.output_dir.mkdir()
    (config.output_dir / "tensorboard").write_text("in the way")
    folder = tenfold.store.RunFolder(config.output_dir)
    with trackers.begin(config, folder, Notes()) as tracking:
        tracking.log({"stage": 0, "adapter": "a", "step": 1, "loss": 1.0})
    assert len(notes) == 1
    assert notes[0].startswith("tensorboard failed and is left alone")


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_a_package_that_is_missing_is_said_before_anything_is_done(make, monkeypatch, capsys, name, tmp_path):
    monkeypatch.setitem(sys.modules, name, None)
    config = make(report_to=name)
    with pytest.raises(MissingExtraError, match=rf"report_to: {name} needs {name}: pip install 'tenfold\[{name}\]'"):
        tenfold.train(config)
    (tmp_path / "config.yaml").write_text(config.dump())
    monkeypatch.setattr("sys.argv", ["tenfold", "train", str(tmp_path / "config.yaml")])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not config.output_dir.exists()


def test_secrets_are_not_told(make):
    config = make(general_text=None, model_type="LlamaForCausalLM")
    kept = trackers.plain(config)
    assert kept == yaml.safe_load(config.dump())
    given = {
        "api_key": "x",
        "hf_token": "x",
        "max_new_tokens": 3,
        "task": [{"password": "x", "path": "https://me:x@host/a"}],
    }
    assert trackers._without_secrets(given) == {"max_new_tokens": 3, "task": [{"path": "https://host/a"}]}
    assert "x" not in json.dumps(trackers._without_secrets(given)).replace("max_", "")


def test_which_trackers_a_config_means(make):
    assert make().trackers == []
    assert make(wandb_project="p").trackers == ["wandb"]
    assert make(wandb_project="p", report_to="none").trackers == []
    assert make(report_to=["tensorboard", "wandb", "tensorboard"]).trackers == ["tensorboard", "wandb"]
    assert make(wandb_watch=False, wandb_log_model="").wandb_log_model is None
