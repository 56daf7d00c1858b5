"""Every mistake in a config is one line: where, which key, what was given, what is allowed."""

import pathlib
import re
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenfold.config import Config
from tenfold.config.keys import task_keys, top_keys
from tenfold.errors import ConfigError

MOLE = (pathlib.Path(__file__).parent / "mole.yaml").read_text()  # as the MoLE project's README prints it
TOP = "base_model: m\n"
TASK = "tasks:\n  one:\n    path: rows.csv\n"


@pytest.fixture
def complain(tmp_path):
    """What a config's error says, without the folder."""
    (tmp_path / "rows.csv").write_text("text,label\na,0\n")

    def complain(text, *overrides):
        (tmp_path / "demo.yaml").write_text(text)
        with pytest.raises(ConfigError) as caught:
            Config.load(tmp_path / "demo.yaml", overrides)
        said = str(caught.value).replace(f"{tmp_path}/", "")
        assert "\n" not in said
        return said

    return complain


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TASK, "demo.yaml: base_model: required, but nothing given: The frozen base: a hub id"),
        ("base_model:\n" + TASK, "demo.yaml:1: base_model: required"),
        (TOP, "demo.yaml: tasks: required: at least one task"),
        (TOP + "tasks:\n", "demo.yaml:2: tasks: required"),
        (TOP + "tasks: [a]\n", "demo.yaml:2: tasks: ['a'] given; must be the settings of each task by its name"),
        (TOP + "tasks: {one: rows.csv}\n", "demo.yaml:2: tasks.one: 'rows.csv' given; must be keys with values"),
        (TOP + "tasks: {one: }\n", "demo.yaml:2: tasks.one: needs path or dataset_name"),
        (TOP + "tasks: {a.b: {path: rows.csv}}\n", "demo.yaml:2: tasks.a.b: a task's name is made of letters"),
        (TOP + "tasks: {base: {path: rows.csv}}\n", "demo.yaml:2: tasks.base: a task's name"),
    ],
)  # fmt: skip
def test_one_line_says_it_all(complain, text, says):
    assert complain(text).startswith(says)


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ("learning_rat: 1\n", "5: learning_rat: unknown key; did you mean 'learning_rate'?"),
        ("zzz: 1\n", "5: zzz: unknown key; known: adam_beta1, adam_beta2,"),
        ("    lora_rank: 1\n", "5: tasks.one.lora_rank: unknown key; did you mean 'lora_r"),
        ("    device: cpu\n", "5: tasks.one.device: is set once for the whole run, at the top"),
        ("path: rows.csv\n", "5: path: belongs to a task: tasks.NAME.path"),
        ("learning_rate: 0,0002\n", "5: learning_rate: '0,0002' given; must be a number"),
        ("learning_rate: -1\n", "5: learning_rate: -1 given; must be greater than 0"),
        ("learning_rate: .inf\n", "5: learning_rate: inf given; must be a finite number"),
        ("learning_rate: .nan\n", "5: learning_rate: nan given; must be a finite number"),
        ("lora_r: true\n", "5: lora_r: True given; must be a number"),
        ("lora_r: 1.5\n", "5: lora_r: 1.5 given; must be a whole number"),
        ("lora_r: 0\n", "5: lora_r: 0 given; must be greater than or equal to 1"),
        ("micro_batch_size: [1]\n", "5: micro_batch_size: [1] given; must be a whole number"),
        ("gradient_checkpointing: 3\n", "5: gradient_checkpointing: 3 given; must be true or"),
        ("    system: 5\n", "5: tasks.one.system: 5 given; must be text"),
        ("    columns: a\n", "5: tasks.one.columns: 'a' given; must be a list"),
        ("lr_scheduler: cosin\n", "5: lr_scheduler: 'cosin' given; must be constant, linear, cosine; did you"),
        ("device: gpu\n", "5: device: 'gpu' given; must be auto, cpu, cuda, cuda:N or mps"),
        ("schedule: turns\n", "5: schedule: 'turns' given; must be concurrent, sequential, mixture, custom"),
        ("train_ratio: 0.3\n", "5: train_ratio: is for schedule sequential, but the schedule is concurrent"),
        ("schedule: sequential\ntrain_ratio: 2\n", "6: train_ratio: 2 given; must be less than or equal to 1"),
        ("composition: own\n", "5: composition: is for schedule sequential, but"),
        ("composition: both\n", "5: composition: 'both' given; must be stacked, own"),
        ("mixture_temperature: 2\n", "5: mixture_temperature: is for schedule mixture, but the schedule is conc"),
        ("orthogonality: 0.5\n", "5: orthogonality: is for schedule sequential or custom, but"),
        ("stages: [{train: [one], rows: [one]}]\n", "5: stages: is for schedule custom, but the schedule is conc"),
        ("    mixture_rate: 2\n", "5: tasks.one.mixture_rate: is for schedule mixture, but the"),
        ("    adapter: lora\nschedule: sequential\nfinetune_first: true\n",
         "5: tasks.one.adapter: finetune_first trains the base itself on the first task: give none"),
        ("    lora_r: 2\nschedule: sequential\nfinetune_first: true\n",
         "5: tasks.one.lora_r: is a setting of dora, lora, but the adapter is full"),
        ("schedule: sequential\nfinetune_first: true\nbase_quantization: nf4\n", "7: base_quantization: 'nf4' given"),
        ("schedule: sequential\ncomposition: own\nreplay_ratio: 0.5\n",
         "7: replay_ratio: composition own shares no weights between tasks, so there is nothing to replay"),
        ("schedule: sequential\northogonality: 1\nadapter: ia3\n",
         "6: orthogonality: is for adapters of kind dora and lora, but one is ia3"),
        ("adapter: full\ndistillation: 1\n", "6: distillation: the base is what is held to, but adapter full trains"),
        ("schedule: mixture\nmixture_limit: 5\n", "6: mixture_limit: goes with mixture_temperature"),
        ("    lora_r: 2\nschedule: mixture\n", "5: tasks.one.lora_r: one adapter is trained on all tasks; say it at"),
        ("    steps: 2\nschedule: mixture\n", "5: tasks.one.steps: one adapter is trained on all tasks; say it at"),
        ("    mixture_rate: 2\nschedule: mixture\nmixture_temperature: 3\n",
         "7: mixture_temperature: tasks.one.mixture_rate says the rates; give one of them"),
        ("    mixture_rate: 2\n  two: {path: rows.csv}\nschedule: mixture\n",
         "6: tasks.two: needs a mixture_rate too, as one has one"),
        ("  mixture: {path: rows.csv}\nschedule: mixture\n", "5: tasks.mixture: is the name of the adapter of all"),
        ("loras: {one: gone}\n", "5: loras.one: no such folder: gone"),
        ("loras: {two: gone}\n", "5: loras.two: no such folder: gone"),
        ("loras: {base: .}\n", "5: loras.base: an adapter's name is made of letters"),
        ("    adapter_path: .\nloras: {one: .}\n", "6: loras.one: tasks.one.adapter_path says another folder"),
        ("schedule: custom\n", " stages: required for schedule custom: a list of stages, each with"),
        ("schedule: custom\nstages: [{train: [on], rows: [one]}]\n",
         "6: stages.0.train: 'on' given; must be of base, one; did you mean 'one'?"),
        ("schedule: custom\nstages: [{train: [one], rows: [two]}]\n", "6: stages.0.rows.two: 'two' given; must be of"),
        ("schedule: custom\nstages: [{train: [one], rows: {one: {active: []}}}]\n",
         "6: stages.0.train: 'one' is active on none of the stage's rows, so it would learn nothing"),
        ("  two: {path: rows.csv}\nschedule: custom\nstages: [{train: [one], rows: {one: {active: [one, two]}}}]\n",
         "7: stages.0.rows.one: 'two' is active, but is trained neither before nor in this stage"),
        ("schedule: custom\nstages:\n- {train: [one], rows: [one]}\n- {train: [base], rows: {one: {active: []}}}\n",
         "8: stages.1.train: the base trains in the first stages, before the adapters that stand on it"),
        ("schedule: custom\nstages: [{train: [base, one], rows: [one]}]\n", "6: stages.0.train: base trains alone"),
        ("schedule: custom\nstages: [{train: [], rows: [one]}]\n", "6: stages.0.train: [] given; must"),
        ("schedule: custom\nstages: [{train: [one]}]\n", "6: stages.0.rows: required, but nothing given"),
        ("schedule: custom\nstages: [{train: [one], rows: [one], step: 3}]\n", "6: stages.0.step: unknown key"),
        ("schedule: custom\nstages: [{train: [one], rows: {one: {share: 0}}}]\n",
         "6: stages.0.rows.one.share: 0 given; must be greater than 0"),
        ("seeds: [1, 1]\n", "5: seeds: [1, 1] given, but each seed can be run only once"),
        ("seeds: []\n", "5: seeds: [] given; must"),
        ("seeds: [-1]\n", "5: seeds.0: -1 given; must be greater than or equal to 0"),
        ("seeds: [1]\nseed: 3\n", "6: seed: 3 given beside seeds; put it among them"),
        ("  two: {path: rows.csv, adapter: qlora}\n", "5: tasks.two.adapter: 'qlora' given, but the base is quantised"),
        ("adapter: full\nbase_quantization: nf4\n", "6: base_quantization: 'nf4' given, but only a float base can be"),
        ("base_quantization: nf3\n", "5: base_quantization: 'nf3' given; must be nf4, int8"),
        ("adapter: lore\n", "5: adapter: 'lore' given; must be bottleneck, dora, fff, ia3, lora, full, qlora, or "
         "kinds joined by + as in lora+fff; did you mean 'lora'?"),
        ("adapter: lora+ff\n", "5: adapter: 'lora+ff' given; must be bottleneck, dora, fff, ia3, lora, full, qlora, or "
         "kinds joined by + as in lora+fff; did you mean 'fff'?"),
        ("adapter: lora+\n", "5: adapter: 'lora+' given; must be bottleneck,"),
        ("adapter: lora+fff+lora\n", "5: adapter: 'lora+fff+lora' given, which says lora twice; each kind at"),
        ("    adapter: lora+full\n", "5: tasks.one.adapter: 'lora+full' given, but full stands alone"),
        ("adapter: qlora+fff\n", "5: adapter: 'qlora+fff' given, but qlora stands alone; give lora and base_quantiz"),
        ("    adapter: [lora]\n", "5: tasks.one.adapter: ['lora'] given; must be bottleneck,"),
        ("    ia3_target_modules: [x]\nadapter: lora+fff\n", "5: tasks.one.ia3_target_modules: is a setting of ia3, "
         "but the adapter is lora+fff"),
        ("adapter: lora+fff\nia3_target_modules: [x]\n", "6: ia3_target_modules: is a setting of ia3, and no task has"),
        ("adapter: lora+fff\nfff_blocks: 0\nlora_r: 0\n", "6: fff_blocks: 0 given; must be greater than or equal to 1 "
         "(and 1 more: lora_r)"),
        ("    adapter_path: .\nadapter: full\n", "5: tasks.one.adapter_path: with adapter full the base itself"),
        ("adapter: [lora]\n", "5: adapter: ['lora'] given; must be text"),
        ("adapter: full\nlora_r: 3\n", "6: lora_r: is a setting of dora, lora, and no task has such"),
        ("    lora_r: 3\nadapter: full\n", "5: tasks.one.lora_r: is a setting of dora, lora, but the"),
        ("    steps: 3\nadapter: full\n", "5: tasks.one.steps: the base is trained once for all"),
        ("  two: {path: rows.csv, adapter: full}\n", "5: tasks.two.adapter: full trains the base"),
        ("report_to: wand\n", "5: report_to: 'wand' given; must be tensorboard, trackio, wandb, none, or a list; did"),
        ("report_to: [none, wandb]\n", "5: report_to: 'none' given; must be tensorboard, trackio, wandb, none, or"),
        ("wandb_watch: all\n", "5: wandb_watch: 'all' given; must be false"),
        ("wandb_log_model: checkpoint\n", "5: wandb_log_model: 'checkpoint' given; must be end, false"),
        ("bert_classifier: true\nrouter: tfidf\n", "6: router: router and the classifiers by MoLE's names say"),
        ("router: tfidff\n", "5: router: 'tfidff' given; must be "),
        ("router: [tfidf, tfidf]\n", "5: router: ['tfidf', 'tfidf'] given; must name each kind once"),
        ("router_coverage: 2\n", "5: router_coverage: 2 given; must be less than or equal to 1"),
        ("tokenise_model: other\n", "5: tokenise_model: 'other' given, but a tokenizer from"),
        ("    prompt: 'a {b'\n", "5: tasks.one.prompt: '{' in line 1 of the template stands for"),
        ("    prompt_formate: '{'\n", "5: tasks.one.prompt_formate: '{' in line 1 of the template"),
        ("    prompt: a\n    prompt_formate: b\n", "5: tasks.one.prompt: prompt and prompt_formate are"),
        ("    metrics: [acuracy]\n", "5: tasks.one.metrics: 'acuracy' given; must be of accuracy,"),
        ("    eval_path: row.csv\n", "5: tasks.one.eval_path: no such file: row.csv; did you mean"),
        ("    eval_sets: {m: row.csv}\n", "5: tasks.one.eval_sets.m: no such file: row.csv"),
        ("    eval_sets: {m: {pat: a}}\n", "5: tasks.one.eval_sets.m.pat: unknown key; did you"),
        ("    adapter_path: old\n", "5: tasks.one.adapter_path: no such folder: old"),
        ("lora_target_modules: to.txt\n", "5: lora_target_modules: no such file: to.txt"),
        ("lora_target_modules: 3\n", "5: lora_target_modules: 3 given; must be a list"),
        ("steps: 5\nwarmup_steps: 5\n", "6: warmup_steps: warmup_steps 5 leaves nothing of steps 5"),
        ("seed: x\nlora_r: x\n", "5: seed: 'x' given; must be a whole number (and 1 more: lora_r)"),
        ("system: a\n", "5: system: belongs to a task: tasks.NAME.system"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong_with_a_key(complain, added, says):
    assert complain(TOP + TASK + added).startswith(f"demo.yaml:{says}")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("seed", "--set 'seed': must be key=value"),
        ("=3", "--set '=3': must be key=value"),
        ("a..b=3", "--set 'a..b=3': must be key=value"),
        ("sed=3", "--set sed=3: sed: unknown key; did you mean 'seed'?"),
        ("seed=x", "--set seed=x: seed: 'x' given; must be a whole number"),
        ("seed=[", "--set seed=[:1: not YAML"),
        ("tasks.on.steps=3", "--set tasks.on.steps=3: no task 'on'; tasks: one; did you mean 'one'?"),
        ("tasks.one.lora=3", "--set tasks.one.lora=3: tasks.one.lora: unknown key; did you mean 'lora_r'?"),
        ("base_model.x=3", "--set base_model.x=3: base_model is 'm', which has no keys"),
        ("tasks=", "--set tasks=: tasks: required"),
        ("base_model=", "--set base_model=: base_model: required"),
    ],
)
def test_overrides_complain_too(complain, override, says):
    assert complain(TOP + TASK, override).startswith(says)


def test_the_file_itself(tmp_path):
    (tmp_path / "demo.yaml").write_text(TOP)
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe")
    for name, says in {
        "dem.yaml": "no such config file; did you mean 'demo.yaml'?",
        "no/such/folder.yaml": "no such config file",
        ".": "is a folder; a config is a YAML file",
        "binary.yaml": "not UTF-8 text: invalid start byte at byte 3",
    }.items():
        with pytest.raises(ConfigError, match=re.escape(says)):
            Config.load(tmp_path / name)


def test_the_mole_seeds_config_as_it_is_printed(complain):
    """It leaves the model and the data empty; nothing in it is unknown."""
    said = complain(MOLE)
    assert said.startswith("demo.yaml:2: base_model: required")
    assert said.endswith("(and 2 more: tasks.name_of_task_1, tasks.name_of_task_2)")


def test_the_mole_seeds_config_filled_in(tmp_path):
    filled = MOLE.replace("base_model: ", "base_model: some/model")
    filled = filled.replace("dataset_name:", "dataset_name: glue").replace("classifier: true", "classifier: false")
    (tmp_path / "mole.yaml").write_text(filled)
    config = Config.load(tmp_path / "mole.yaml")
    task = config.task("name_of_task_2")
    own = task.adapters["name_of_task_2"]
    assert (own.settings.lora_r, own.settings.lora_alpha, own.settings.lora_dropout) == (32, 16, 0.05)
    assert own.settings.lora_target_modules[0] == "gate_proj"
    assert own.settings.lora_target_linear
    assert (own.kind, config.base_quantization) == ("lora", "nf4")
    assert (task.training.gradient_accumulation_steps, task.training.micro_batch_size) == (4, 2)
    assert (task.training.optimizer, task.training.lr_scheduler) == ("adamw_bnb_8bit", "cosine")
    assert task.training.learning_rate == 0.0002
    assert (task.training.num_epochs, task.training.steps, task.task.dataset_name) == (1, None, "glue")


KEYS = sorted(top_keys() | task_keys())
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["rows.csv", "lora", "cosine", "{text}", "1e-4"])
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
SECTIONS = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), VALUES, max_size=6)
TASKS = st.dictionaries(st.sampled_from(["a", "b", "a.b", ""]), SECTIONS | VALUES, max_size=2)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SECTIONS, TASKS | VALUES)
def test_junk_never_gives_a_traceback(tmp_path_factory, section, tasks):
    """Random values under known and unknown keys: a config, or one line."""
    try:
        config = Config.parse({"base_model": "m", **section, "tasks": tasks}, tmp_path_factory.getbasetemp())
    except ConfigError as error:
        message = str(error)
    else:
        message = ""
        config.dump()
    assert "\n" not in message


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=string.printable + "\x00\x85\ud800é", max_size=60))
def test_junk_text_never_gives_a_traceback(tmp_path_factory, text):
    place = tmp_path_factory.getbasetemp() / "junk.yaml"
    place.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError) as caught:
        Config.load(place)
    assert "\n" not in str(caught.value)
