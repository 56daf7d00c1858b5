"""A config of two tasks, their rows and a tiny base, as files."""

import json

CONFIG = """\
base_model: ./base
output_dir: {folder}/run
prompt_style: raw
micro_batch_size: 4
steps: 3
lora_r: 2
tasks:
  upper:
    path: upper.jsonl
    eval_path: upper.jsonl
    prompt: "{{text}} -> "
    response: "{{answer}}"
    max_new_tokens: 4
    metrics: [exact_match]
  sums:
    path: sums.csv
    prompt: "{{a}}+{{b}}="
    response: "{{c}}"
    steps: 2
"""


def write_project(folder, base):
    """Write all of it into a folder."""
    (folder / "base").symlink_to(base)
    rows = [{"text": word, "answer": word.upper()} for word in ("ab", "cd", "ef", "gh", "ij")]
    (folder / "upper.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "sums.csv").write_text("a,b,c\n1,2,3\n2,2,4\n3,4,7\n")
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder))
