import json

import pytest

SWEEP = """\
output_dir: {folder}/found
{what}
config:
  base_model: ./base
  prompt_style: raw
  micro_batch_size: 4
  steps: 3
  tasks:
    upper:
      path: upper.jsonl
      val_set_size: 2
      prompt: "{{text}} -> "
      response: "{{answer}}"
"""
COMPARE = """\
compare:
  - {name: lora, set: {adapter: lora, lora_r: 2}}
  - {name: fff, set: {adapter: fff}}
learning_rates: [0.01]
seeds: [0, 1]
"""


@pytest.fixture
def write(project):
    def write(what):
        (project / "sweep.yaml").write_text(SWEEP.format(folder=project, what=what))
        return project / "sweep.yaml"

    return write


def test_a_search_shows_its_trials_best_first(write, tenfold, project):
    code, out, _ = tenfold("sweep", write("search: {lora_r: [2, 4], learning_rate: [0.001, 0.01]}"))
    assert code == 0
    found = json.loads((project / "found" / "sweep.json").read_text())
    assert [one["state"] for one in found["trials"]] == ["complete"] * 4
    best = next(one for one in found["trials"] if one["number"] == found["best"])
    lines = out.splitlines()
    assert lines[1].split()[0] == str(best["number"])
    assert f"best: trial {best['number']}, {best['legend']}" in out
    assert best["legend"].startswith("lora r=")


def test_a_comparison_ends_with_a_sentence(write, tenfold):
    code, out, _ = tenfold("sweep", write(COMPARE))
    assert code == 0
    assert "fff: [" in out
    assert out.splitlines()[-2].startswith("fff is ")


def test_a_dry_run_shows_sizes_and_writes_nothing(write, tenfold, project):
    code, out, _ = tenfold("sweep", write(COMPARE), "--dry-run")
    assert code == 0
    assert "then 2 trials, each entry at its own learning rate" in out
    assert "lora r=2" in out
    assert not (project / "found").exists()


def test_settings_are_replaced_on_the_command_line(write, tenfold, project):
    path = write("search: {lora_r: [2]}")
    code, _, err = tenfold("sweep", path, "--set", "config.tasks.upper.max_rows=4", "--set", "search.lora_r=[2, 3]")
    assert (code, err) == (0, err)
    trials = json.loads((project / "found" / "sweep.json").read_text())["trials"]
    assert [one["settings"] for one in trials] == [{"lora_r": 2}, {"lora_r": 3}]


def test_a_mistake_is_one_line(write, tenfold):
    code, _, err = tenfold("sweep", write("search: {lora_r: [2]}\npruner: sharp"))
    assert code == 2
    assert err.endswith("sweep.yaml:3: pruner: 'sharp' given; must be none, median, halving\n")
    assert len(err.splitlines()) == 1


def test_a_config_in_a_file_of_its_own(write, tenfold, project):
    (project / "sweep.yaml").write_text(
        f"config: config.yaml\noutput_dir: {project}/found\nsearch: {{lora_r: [2, 0]}}\n"
    )
    code, _, err = tenfold("sweep", project / "sweep.yaml", "--set", "config.tasks.sums.train=false")
    assert code == 2
    assert "sweep.yaml:3: lora_r: 0 given; must be greater than or equal to 1" in err
