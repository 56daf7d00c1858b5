"""The model card of adapters: what they are for, how well they do it, and how they are used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from tenfold import evaluate
from tenfold.evaluate import Result
from tenfold.store.card import Card

PEFTS = ("LORA", "IA3")  # kinds that PEFT has as well
CAUSAL = "CAUSAL_LM"
VLLM_RANK = 16  # up to which vLLM takes adapters without being told


@dataclass(frozen=True)
class Shown:
    """One adapter. settings: PEFT's. results: of its tasks, the base's among them, each with its interval.

    sources: the name of each of their sources of rows. rows: how many training rows each has. datasets: ids on a hub.
    """

    name: str
    settings: Mapping[str, Any]
    card: Card | None
    results: Sequence[Result] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    datasets: Sequence[str] = ()

    @property
    def kind(self) -> str:
        """What PEFT calls it."""
        return str(self.settings.get("peft_type", ""))

    @property
    def plain_lora(self) -> bool:
        """Whether vLLM takes it: LoRA without magnitudes or copies of modules, for text."""
        extras = self.settings.get("use_dora") or self.settings.get("modules_to_save")
        return self.kind == "LORA" and not extras and self.settings.get("task_type") == CAUSAL

    @property
    def partners(self) -> list[str]:
        """What it was trained and measured together with."""
        return [name for name in (self.card.composition if self.card else []) if name != self.name]


def write(repo_id: str, base: str, shown: Sequence[Shown], licence: str | None) -> str:
    """The whole card as markdown with YAML in front."""
    title = repo_id.partition("/")[2]
    what = "An adapter" if len(shown) == 1 else f"{len(shown)} adapters"
    parts = [
        f"# {title}",
        f"{what} for [{base}](https://huggingface.co/{base}), trained with tenfold.",
        *(_section(one, several=len(shown) > 1) for one in shown),
        "## How to use it" if len(shown) == 1 else "## How to use them",
        *filter(None, (_peft(repo_id, base, shown), _vllm(repo_id, base, shown), _tenfold(repo_id, base, shown))),
    ]
    return f"---\n{_front(base, shown, licence)}---\n\n" + "\n\n".join(filter(None, parts)) + "\n"


def _front(base: str, shown: Sequence[Shown], licence: str | None) -> str:
    pefts = all(one.kind in PEFTS for one in shown)
    tags = ["tenfold", *dict.fromkeys(one.kind.lower() for one in shown)]
    data = list(dict.fromkeys(name for one in shown for name in one.datasets))
    values: dict[str, Any] = {
        "base_model": base,
        "library_name": "peft" if pefts else "tenfold",
        "pipeline_tag": "text-generation" if all(one.settings.get("task_type") == CAUSAL for one in shown) else None,
        "license": licence,
        "tags": tags,
        "datasets": data or None,
    }
    return yaml.safe_dump({k: v for k, v in values.items() if v is not None}, sort_keys=False, allow_unicode=True)


def _section(one: Shown, *, several: bool) -> str:
    heading = f"## {one.name}" if several else ""
    return "\n\n".join(filter(None, (heading, _asked(one), _data(one), _results(one))))


def _asked(one: Shown) -> str:
    """The templates of its tasks."""
    if one.card is None:
        return ""
    prompts = one.card.tasks or {one.card.task or one.name: one.card.prompt}
    texts = [
        f"Prompt of {task} ({'through the chat template' if own.get('prompt_style') != 'raw' else 'as it is'}):\n\n"
        f"{_fence(str(own['prompt']))}"
        for task, own in prompts.items()
        if own.get("prompt") is not None
    ]
    together = f"It was trained together with {', '.join(one.partners)} and needs that." if one.partners else ""
    return "\n\n".join(filter(None, (together, *texts)))


def _data(one: Shown) -> str:
    lines = [f"- {task}: {count:,} training rows" for task, count in one.rows.items()]
    lines += [f"- {what}: `{name}`" for what, name in one.sources.items()]
    return "Data:\n\n" + "\n".join(lines) if lines else ""


def _results(one: Shown) -> str:
    rows = [
        (row.task, row.metric, row.n, row.base, row.adapted, row.verdict)
        for row in evaluate.table(one.results)
        if row.adapted
    ]
    if not rows:
        return ""
    headers = ("task", "metric", "cases", "base", "with the adapter", "compared with the base")
    lines = ["| " + " | ".join(_cell(text) for text in row) + " |" for row in (headers, ("---",) * 6, *rows)]
    return "Measured by tenfold, with 95% intervals:\n\n" + "\n".join(lines)


def _peft(repo_id: str, base: str, shown: Sequence[Shown]) -> str:
    """How PEFT loads what it knows."""
    known = [one for one in shown if one.kind in PEFTS and one.settings.get("task_type") == CAUSAL]
    if not known:
        return ""
    several = len(shown) > 1
    inner = f', subfolder="{known[0].name}"' if several else ""
    code = (
        "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{base}")\nmodel = AutoModelForCausalLM.from_pretrained("{base}")\n'
        f'model = PeftModel.from_pretrained(model, "{repo_id}"{inner})'
    )
    return f"With PEFT:\n\n{_fence(code, 'python')}"


def _vllm(repo_id: str, base: str, shown: Sequence[Shown]) -> str:
    known = [one for one in shown if one.plain_lora]
    if not known:
        return ""
    rank = max(int(one.settings.get("r", 0)) for one in known)
    more = f" --max-lora-rank {rank}" if rank > VLLM_RANK else ""
    folder = repo_id.partition("/")[2]
    fetch = f"hf download {repo_id} --local-dir {folder}\n" if len(shown) > 1 else ""
    modules = " ".join(f"{one.name}={f'{folder}/{one.name}' if len(shown) > 1 else repo_id}" for one in known)
    code = f"{fetch}vllm serve {base} --enable-lora{more} --lora-modules {modules}"
    return f"With vLLM:\n\n{_fence(code, 'sh')}"


def _tenfold(repo_id: str, base: str, shown: Sequence[Shown]) -> str:
    folder = repo_id.partition("/")[2]
    places = " ".join(f"{folder}/{one.name}" for one in shown) if len(shown) > 1 else folder
    code = f"hf download {repo_id} --local-dir {folder}\ntenfold serve {places}"
    return f"With tenfold:\n\n{_fence(code, 'sh')}"


def _fence(text: str, language: str = "") -> str:
    """A block of code, in a fence that does not stand in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
