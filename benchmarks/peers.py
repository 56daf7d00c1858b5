"""What others make of the same requests: transformers' base, PEFT's mixed batch, and vLLM."""

import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from serving_cases import FEW, RANK, World
from transformers import AutoModelForCausalLM


def measure(world: World) -> list[dict[str, Any]]:
    """Seconds and tokens a second of each, all requests at once. transformers and PEFT pad to the longest prompt."""
    model = AutoModelForCausalLM.from_pretrained(world.model_folder(), dtype=torch.float32).eval()
    found = {"transformers, base": [_generate(world, model, None) for _ in range(world.options.rounds)]}
    for i in range(FEW):
        place = world.saved(f"a{i}")
        model = PeftModel.from_pretrained(model, place, "a0") if not i else model
        if i:
            model.load_adapter(place, f"a{i}")
    names = [f"a{i % FEW}" for i in range(len(world.prompts))]
    found[f"PEFT, {FEW} adapters"] = [_generate(world, model, names) for _ in range(world.options.rounds)]
    if world.options.vllm:
        found |= _vllm(world)
    tokens = len(world.prompts) * world.options.new
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    return [{"peer": name, "seconds": s, "tokens_per_second": tokens / s} for name, s in medians.items()]


@torch.inference_mode()
def _generate(world: World, model: Any, names: list[str] | None) -> float:
    longest = max(map(len, world.prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in world.prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in world.prompts])
    more = {} if names is None else {"adapter_names": names}
    start = time.perf_counter()
    model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=world.options.new, min_new_tokens=world.options.new,
        do_sample=False, eos_token_id=None, pad_token_id=0, **more,
    )  # fmt: skip
    return time.perf_counter() - start


def _vllm(world: World) -> dict[str, list[float]]:
    """The same requests through vLLM, in another process."""
    out = ask_vllm(world, {"mode": "throughput", "rounds": world.options.rounds})
    return {"vLLM, base": out["base"], f"vLLM, {FEW} adapters": out["adapters"]}


def ask_vllm(world: World, more: dict[str, Any]) -> Any:
    """Run ``vllm_side.py`` with a request as JSON -> what it writes."""
    request, answer = world.folder / "request.json", world.folder / "answer.json"
    given = {
        "model": str(world.model_folder()),
        "adapters": [str(world.saved(f"a{i}")) for i in range(FEW)],
        "rank": RANK,
        "prompts": world.prompts,
        "new": world.options.new,
        **more,
    }
    request.write_text(json.dumps(given))
    side = Path(__file__).with_name("vllm_side.py")
    subprocess.run([str(world.options.vllm), str(side), str(request), str(answer)], check=True)
    return json.loads(answer.read_text())
