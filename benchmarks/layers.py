"""One linear layer with an adapter, in PEFT and here: the same tokens, the same numbers, forward and backward."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from peft import IA3Config, LoraConfig, PeftConfig, get_peft_model
from torch import Tensor, nn

from tenfold import plugins
from tenfold.adapters import Frame, Segment, compose
from tenfold.adapters._base import Adapter, Kind, Layer
from tenfold.adapters.host import Host

RANK, ALPHA = 16, 32
PLACES = {"a": "lora_A", "b": "lora_B", "m": "lora_magnitude_vector", "factors": "ia3_l"}
LAYERS = {"up_proj": (576, 1536), "down_proj": (1536, 576), "k_proj": (576, 192)}
"""SmolLM2-135M's shapes (D_in, D_out) by name."""
CASES = {"lora": tuple(LAYERS), "dora": tuple(LAYERS), "ia3": ("k_proj", "down_proj")}
TOLERANCE = 1e-4


@dataclass
class Pair:
    """The same adapter on the same frozen layer twice: what to call, and its trainable tensors in one order."""

    tenfold: Callable[[Tensor], Tensor]
    peft: Callable[[Tensor], Tensor]
    own: list[Tensor]
    theirs: list[Tensor]


def compare(tokens: int, rounds: int) -> list[dict[str, float | int | str]]:
    """A line for each kind that PEFT has and each layer: milliseconds forward and backward over ``tokens`` tokens."""
    return [measure(kind, name, tokens, rounds) for kind, names in CASES.items() for name in names]


def measure(kind: str, name: str, tokens: int, rounds: int) -> dict[str, float | int | str]:
    """Both sides in turns. Leaves the program where their numbers differ."""
    pair = make(kind, name, tokens)
    x = torch.randn(tokens, LAYERS[name][0])
    grad = torch.randn(tokens, LAYERS[name][1])
    sides = {"peft": (pair.peft, pair.theirs), "tenfold": (pair.tenfold, pair.own)}
    found = {side: run(forward, parameters, x, grad)[1] for side, (forward, parameters) in sides.items()}
    for ours, theirs in zip(found["tenfold"], found["peft"], strict=True):
        apart = float((ours.flatten() - theirs.flatten()).abs().max() / theirs.abs().max())
        if not apart <= TOLERANCE:
            raise SystemExit(f"{kind} on {name}: the sides differ by {apart:g}")
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, (forward, parameters) in sides.items():
            seconds[side].append(run(forward, parameters, x, grad)[0])
    times = {f"{side}_milliseconds": 1000 * median(own) for side, own in seconds.items()}
    ratios = [a / b for a, b in zip(seconds["peft"], seconds["tenfold"], strict=True)]
    return {"kind": kind, "layer": name, "tokens": tokens, **times, "peft_over_tenfold": median(ratios)}


def run(
    forward: Callable[[Tensor], Tensor], parameters: list[Tensor], x: Tensor, grad: Tensor
) -> tuple[float, list[Tensor]]:
    """One pass there and back -> its seconds; the output and the gradients of x and of the parameters."""
    x = x.detach().requires_grad_()
    for parameter in parameters:
        parameter.grad = None
    start = time.perf_counter()
    y = forward(x)
    y.backward(grad)
    seconds = time.perf_counter() - start
    gradients = [t.grad for t in (x, *parameters)]
    return seconds, [y.detach(), *(g for g in gradients if g is not None)]


def make(kind: str, name: str, tokens: int) -> Pair:
    """A frozen layer and an adapter with numbers as after some training, on both sides."""
    torch.manual_seed(0)
    d_in, d_out = LAYERS[name]
    frozen = nn.Linear(d_in, d_out, bias=False).requires_grad_(False)
    module: Kind = plugins.find("tenfold.adapters", kind)
    config = module.Config() if kind == "ia3" else module.Config(lora_r=RANK, lora_alpha=ALPHA)
    adapter = module.Adapter(config, Layer(name, d_in, d_out), torch.Generator().manual_seed(0))
    adapter.begin(frozen, None)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    theirs, places = peer(kind, name, frozen, adapter)
    host = Host(Layer(name, d_in, d_out), frozen, lambda: Frame([Segment(0, tokens, compose("a"))], training=True))
    host.adapters["a"] = adapter
    return Pair(host, theirs, list(adapter.parameters()), places)


def peer(kind: str, name: str, frozen: nn.Linear, adapter: Adapter) -> tuple[nn.Module, list[Tensor]]:
    """PEFT's layer with these numbers on a copy of the frozen one, and its trainable tensors."""
    copy = nn.Linear(*frozen.weight.shape[::-1], bias=False)
    copy.weight.data = frozen.weight.data.clone()
    model = nn.Module()
    model.add_module(name, copy)
    layer: Any = getattr(get_peft_model(model, settings(kind, name)).base_model.model, name)  # type: ignore[arg-type]
    found = []
    for attribute, parameter in adapter.named_parameters():
        place = getattr(layer, PLACES[attribute])["default"]
        tensor = place if isinstance(place, nn.Parameter) else place.weight
        tensor.data.copy_(parameter.data)
        found.append(tensor)
    return layer, found


def settings(kind: str, name: str) -> PeftConfig:
    """PEFT's."""
    if kind == "ia3":
        return IA3Config(target_modules=[name], feedforward_modules=[name] if name == "down_proj" else [])
    return LoraConfig(r=RANK, lora_alpha=ALPHA, use_dora=kind == "dora", target_modules=[name])
