"""A run on a tiny random base, adapters that change a lot, and what tenfold says about it without a server."""

import json

import torch
from tiny import tiny_model
from tokens import tiny_tokenizer

from tenfold import base, runs, store
from tenfold.adapters import Bank
from tenfold.adapters.lora import Config
from tenfold.store import card

CONFIG = """\
base_model: {base}
output_dir: {folder}
prompt_style: raw
micro_batch_size: 4
steps: 1
lora_r: 4
tasks:
  upper:
    path: rows.jsonl
    prompt: "{{text}} -> "
    response: "{{answer}}"
    max_new_tokens: 12
    stop: ["@"]
  sums:
    path: rows.jsonl
    prompt: "{{a}}+{{b}}="
    response: "{{c}}"
    max_new_tokens: 9
  talk:
    path: rows.jsonl
    prompt_style: chat
    data_format: messages
    system: be brief
"""


def make_run(folder, seed=0):
    """A run folder with the adapters upper, sums and talk, as training would leave it."""
    place = folder / "base"
    if not place.is_dir():
        tiny_model(max_position_embeddings=512).save_pretrained(place)
        tiny_tokenizer().save_pretrained(place)
    run = folder / "run"
    run.mkdir()
    (run / "config.yaml").write_text(CONFIG.format(base=place, folder=run))
    (run / "plan.json").write_text("{}")
    bank = Bank(base.load(str(place)))
    for number, name in enumerate(("upper", "sums", "talk")):
        save_adapter(bank, name, run / "adapters" / name, seed=seed + number)
    return run


def save_adapter(bank, name, folder, *, seed, rank=4, prompt=None):
    """A LoRA adapter whose B is drawn, not zero."""
    bank.add(name, "lora", Config(lora_r=rank, lora_alpha=2 * rank), seed=seed)
    generator = torch.Generator().manual_seed(100 + seed)
    with torch.no_grad():
        for key, parameter in bank.parameters(name).items():
            if key.endswith(".b"):
                parameter.normal_(0, 0.3, generator=generator)
    store.save(bank, name, folder, card.describe(bank.base, prompt=prompt))
    bank.remove(name)


def answers(run, texts, adapter, **options):
    """What ``tenfold generate`` answers."""
    return runs.load(run).generate(texts, adapter, **options)


def lines(text):
    """The JSON lines of a log."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
