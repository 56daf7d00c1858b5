import pathlib

import pytest

from tenfold.config import Config
from tenfold.errors import ConfigError

MINIMAL = "base_model: some/model\ntasks:\n  one:\n    path: rows.csv\n"
TWO = MINIMAL + "  two:\n    path: rows.csv\n"


@pytest.fixture
def load(tmp_path):
    """Load a config from its text, beside a file rows.csv."""
    (tmp_path / "rows.csv").write_text("text,label\na,0\n")

    def load(text, *overrides, **options):
        (tmp_path / "demo.yaml").write_text(text)
        return Config.load(tmp_path / "demo.yaml", overrides, **options)

    return load


def of(task):
    """The settings of a task's only adapter."""
    (own,) = task.adapters.values()
    return own.settings


def test_defaults(load, tmp_path):
    config = load(MINIMAL)
    assert (config.base_model, config.adapter, config.device, config.seed) == ("some/model", "lora", "auto", 0)
    assert config.output_dir == pathlib.Path("runs/demo")
    assert config.folder == tmp_path.resolve()
    assert config.source == MINIMAL
    task = config.task("one")
    assert (task.name, task.task.path) == ("one", "rows.csv")
    assert [(name, own.kind, own.settings.lora_r) for name, own in task.adapters.items()] == [("one", "lora", 8)]
    assert list(config.tasks) == ["one"]


def test_a_task_overrides_training_and_adapter_settings(load):
    config = load(TWO + "    learning_rate: 1e-3\n    lora_r: 4\n    sequence_len: 64\nlora_r: 16\nsequence_len: 128\n")
    one, two = config.task("one"), config.task("two")
    assert (one.training.learning_rate, two.training.learning_rate) == (5e-4, 1e-3)
    assert (of(one).lora_r, of(two).lora_r) == (16, 4)
    assert (one.task.sequence_len, two.task.sequence_len) == (128, 64)


def test_an_empty_value_is_unset(load):
    config = load(TWO + "    lora_r:\n    num_epochs:\nlora_r: 16\nseed:\nlearning_rate:\nwandb_project:\n")
    assert of(config.task("two")).lora_r == 16
    assert config.task("two").training.num_epochs == 1
    assert config.seed == 0
    assert config.task("one").training.learning_rate == 5e-4


def test_what_a_task_says_beats_the_stronger_setting_at_the_top(load):
    config = load(TWO + "    num_epochs: 3\nsteps: 100\nwarmup_steps: 5\n")
    assert config.task("one").training.steps == 100
    assert config.task("two").training.steps is None
    assert config.task("two").training.num_epochs == 3
    assert config.task("two").training.warmup_steps == 5


@pytest.mark.parametrize("text", ["5e-4", "0.0005", ".0005", "'5e-4'"])
def test_learning_rates_in_every_spelling(load, text):
    assert load(MINIMAL + f"learning_rate: {text}\n").task("one").training.learning_rate == 5e-4


def test_labels_keep_their_words(load):
    labels = load(MINIMAL + "    labels: {0: no, 1: yes, 2: on}\n").task("one").task.labels
    assert labels == {"0": "no", "1": "yes", "2": "on"}


@pytest.mark.parametrize("name", ["prompt", "prompt_format", "prompt_formate"])
def test_the_prompt_has_three_names(load, name):
    assert load(MINIMAL + f"    {name}: 'Say {{text}}'\n").task("one").task.prompt == "Say {text}"


def test_targets_come_from_a_list_a_word_or_a_file(load, tmp_path):
    (tmp_path / "targets.txt").write_text("# which\nmodel.layers.0.q_proj\n\nv_proj  # all\n")
    config = load(TWO + "    lora_target_modules: q_proj\nlora_target_modules: targets.txt\n")
    assert of(config.task("one")).lora_target_modules == ["model.layers.0.q_proj", "v_proj"]
    assert of(config.task("two")).lora_target_modules == ["q_proj"]


def test_overrides_have_yaml_types_and_reach_tasks(load):
    config = load(TWO, "tasks.two.lora_r=4", "learning_rate=1e-3", "tasks.one.system=no", "output_dir=here")
    assert of(config.task("two")).lora_r == 4
    assert config.task("one").training.learning_rate == 1e-3
    assert config.task("one").task.system == "no"
    assert config.output_dir == pathlib.Path("here")
    assert of(load(MINIMAL + "lora_r: 4\n", "lora_r=").task("one")).lora_r == 8
    added = load(MINIMAL, "tasks.new={path: rows.csv, steps: 3}", "tasks.one.labels.0=zero")
    assert added.task("new").training.steps == 3
    assert added.task("one").task.labels == {"0": "zero"}


def test_a_base_model_beside_the_config_is_found(load, tmp_path):
    (tmp_path / "tiny").mkdir()
    assert load(MINIMAL, "base_model=tiny").base_model == str(tmp_path / "tiny")
    assert load(MINIMAL, "base_model=./absent").base_model == str(tmp_path / "absent")
    assert load(MINIMAL, "base_model=pypi:x==1").base_model == "pypi:x==1"


def test_the_base_itself_can_be_trained(load):
    task = load(MINIMAL + "adapter: full\n").task("one")
    assert (task.full, task.adapters, task.composition) == (True, {}, ())


SEVERAL = TWO + "    adapter: fff+lora\n    fff_blocks: 2\nadapter: lora\nlora_r: 4\n"


def test_a_task_has_several_adapters(load):
    config = load(SEVERAL)
    two = config.task("two")
    assert {name: own.kind for name, own in two.adapters.items()} == {"two.fff": "fff", "two.lora": "lora"}
    assert two.composition == (("two.fff", 1.0), ("two.lora", 1.0))
    assert (two.adapters["two.fff"].settings.fff_blocks, two.adapters["two.lora"].settings.lora_r) == (2, 4)
    assert {name: task.name for name, task in config.owners.items()} == {
        "one": "one",
        "two.fff": "two",
        "two.lora": "two",
    }


def test_several_adapters_go_on_from_the_folders_beside_the_path(load, tmp_path):
    for kind in ("lora", "fff"):
        (tmp_path / f"old.{kind}").mkdir()
    task = load(TWO + "    adapter_path: old/\n    adapter: lora+fff\n").task("two")
    assert task.adapter_paths == {"two.lora": "old.lora", "two.fff": "old.fff"}
    (tmp_path / "old.fff").rmdir()
    with pytest.raises(ConfigError, match=r"demo.yaml:7: tasks.two.adapter_path: no such folder: \S*old.fff$"):
        load(TWO + "    adapter_path: old\n    adapter: lora+fff\n")


def test_a_config_can_be_a_dict(tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    config = Config.parse({"base_model": "m", "lora_r": 2, "tasks": {"t": {"path": "rows.csv"}}}, tmp_path)
    assert of(config.task("t")).lora_r == 2
    with pytest.raises(ConfigError, match=r"^config: lora_x: unknown key; did you mean 'lora_r'\?$"):
        Config.parse({"base_model": "m", "lora_x": 2, "tasks": {"t": {"path": "rows.csv"}}}, tmp_path)


def test_an_unknown_task_is_an_error(load):
    with pytest.raises(ConfigError, match="no task 'ones'; tasks: one; did you mean 'one'"):
        load(MINIMAL).task("ones")


def test_a_byte_order_mark_is_no_key(load, tmp_path):
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    (tmp_path / "rows.csv").write_text("a\n")
    assert Config.load(tmp_path / "bom.yaml").base_model == "some/model"


def test_data_errors_say_where_their_key_stands(load):
    from tenfold.errors import DataError

    config = load(MINIMAL + "    prompt: '{nope}'\n")
    with pytest.raises(DataError, match=r"demo.yaml:5: tasks.one.prompt: no column"), config.locating():
        raise DataError("tasks.one.prompt: no column 'nope'")


DUMPED = (
    TWO
    + """\
    eval_sets: {matched: rows.csv, made: {path: "synthetic:dates?rows=8"}}
    labels: {0: no, 1: "5e-4"}
    prompt_formate: |
      {text}: yes
       or no
    steps: 7
    lora_r: 3
    adapter: lora
    response: "{label}"
num_epochs: 2
sequence_len: 96
lora_target_modules: targets.txt
lora_dropout: 0.1
adam_epsilon: 1e-9
dtype: float32
"""
)


def test_a_dumped_config_is_the_same_from_anywhere(load, tmp_path):
    (tmp_path / "targets.txt").write_text("q_proj\n")
    config = load(DUMPED, "tasks.one.learning_rate=3e-4")
    place = tmp_path / "elsewhere" / "config.yaml"
    place.parent.mkdir()
    place.write_text(config.dump())
    again = Config.load(place)
    assert again.output_dir == config.output_dir.resolve()
    for name in ("one", "two"):
        before, after = config.task(name), again.task(name)
        assert (after.training, after.adapters) == (before.training, before.adapters)
        assert after.task.path == str(tmp_path / "rows.csv")
        assert after.task.labels == before.task.labels
        assert after.task.prompt == before.task.prompt
        assert after.task.sequence_len == 96
    assert again.task("two").task.eval_sets["matched"].path == str(tmp_path / "rows.csv")
    assert again.task("two").task.eval_sets["made"].path == "synthetic:dates?rows=8"
    assert again.dump() == config.dump()


def test_a_key_that_a_task_leaves_empty_is_not_dumped_as_its_own(load, tmp_path):
    top = "base_model: base\nadapter: full\nsteps: 3\n"
    dumped = load(f"{top}tasks:\n  one: {{path: rows.csv, prompt: '{{a}}', response: '{{b}}', steps: }}\n").dump()
    assert dumped.count("steps: 3\n") == 1
    (tmp_path / "again.yaml").write_text(dumped)
    assert Config.load(tmp_path / "again.yaml").dump() == dumped


def test_several_adapters_are_dumped_and_read_again(load, tmp_path):
    for kind in ("lora", "fff"):
        (tmp_path / f"old.{kind}").mkdir()
    config = load(SEVERAL + "fff_intermediate_size: [8, 4]\n", "tasks.two.adapter_path=old")
    place = tmp_path / "elsewhere" / "config.yaml"
    place.parent.mkdir()
    place.write_text(config.dump())
    again = Config.load(place)
    assert [task.adapters for task in again.tasks.values()] == [task.adapters for task in config.tasks.values()]
    assert again.task("two").adapter_paths["two.fff"] == str(tmp_path / "old.fff")
    assert again.dump() == config.dump()


def test_a_run_loads_without_its_data(load, tmp_path):
    (tmp_path / "rows.csv").unlink()
    with pytest.raises(ConfigError, match="no such file"):
        load(MINIMAL)
    assert load(MINIMAL, require_files=False).task("one").task.path == "rows.csv"
