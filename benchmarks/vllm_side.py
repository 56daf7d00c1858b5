"""vLLM's side of ``serving``, in an environment that has it: a request as JSON in, seconds as JSON out."""

import json
import sys
import time
from pathlib import Path

from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest


def main(request: Path, answer: Path) -> None:
    """All requests at once, or at their times of arrival."""
    given = json.loads(request.read_text())
    model = LLM(
        given["model"],
        dtype="float32",
        enable_lora=True,
        max_loras=len(given["adapters"]),
        max_lora_rank=given["rank"],
        max_num_seqs=len(given["prompts"]),
        max_model_len=2048,
        enforce_eager=True,
        enable_prefix_caching=True,
        gpu_memory_utilization=0.3,  # of all memory; the name is kept for CPUs
    )
    loras = [LoRARequest(f"a{i}", i + 1, path) for i, path in enumerate(given["adapters"])]
    answer.write_text(
        json.dumps(throughput(model, loras, given) if given["mode"] == "throughput" else load(model, loras, given))
    )


def throughput(model: LLM, loras: list[LoRARequest], given: dict) -> dict[str, list[float]]:
    """Seconds of each round, after one that warms up."""
    found = {"base": [], "adapters": []}
    prompts = [{"prompt_token_ids": prompt} for prompt in given["prompts"]]
    for _ in range(given["rounds"] + 1):
        for name, own in ("base", None), ("adapters", [loras[i % len(loras)] for i in range(len(prompts))]):
            model.reset_prefix_cache()
            start = time.perf_counter()
            model.generate(prompts, settings(given), lora_request=own, use_tqdm=False)
            found[name].append(time.perf_counter() - start)
    return {name: seconds[1:] for name, seconds in found.items()}


def load(model: LLM, loras: list[LoRARequest], given: dict) -> list[list[float]]:
    """For every request: arrival, first token and end, in seconds."""
    engine, arrivals = model.llm_engine, given["arrivals"]
    warm = [{"prompt_token_ids": prompt} for prompt in given["prompts"][: len(loras)]]
    model.generate(warm, settings(given | {"new": 2}), lora_request=loras[: len(warm)], use_tqdm=False)
    model.reset_prefix_cache()
    first, end, sent, start = {}, {}, 0, time.perf_counter()
    while len(end) < len(arrivals):
        now = time.perf_counter() - start
        while sent < len(arrivals) and arrivals[sent] <= now:
            prompt = {"prompt_token_ids": given["prompts"][sent % len(given["prompts"])]}
            engine.add_request(str(sent), prompt, settings(given), lora_request=loras[sent % len(loras)])
            sent += 1
        if not engine.has_unfinished_requests():
            time.sleep(0.001)
            continue
        for out in engine.step():
            now = time.perf_counter() - start
            first.setdefault(int(out.request_id), now)
            if out.finished:
                end[int(out.request_id)] = now
    return [[arrivals[i], first[i], end[i]] for i in range(len(arrivals))]


def settings(given: dict) -> SamplingParams:
    """Greedy, of one length."""
    return SamplingParams(temperature=0, max_tokens=given["new"], ignore_eos=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
