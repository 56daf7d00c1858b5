"""Several LoRA adapters made into one, offline, as PEFT's ``add_weighted_adapter`` does it and by its own code.

linear is task arithmetic on the factors, svd on their products (Ilharco et al. 2023, arXiv:2212.04089), cat the exact
weighted sum. ties keeps the largest numbers and settles their signs (Yadav et al. 2023, arXiv:2306.01708), dare drops
numbers at random and scales up the rest (Yu et al. 2024, arXiv:2311.03099). What ends in svd works on the products
B A and takes the best product of one rank; what does not works on A and B by themselves, a rough approximation.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tenfold import plugins
from tenfold.adapters._base import Kind, Layer
from tenfold.adapters.bank import Bank, Installed
from tenfold.adapters.blank import blank
from tenfold.adapters.composition import Composition
from tenfold.adapters.lora import Config
from tenfold.adapters.targets import linear_layers
from tenfold.errors import AdapterError, nearest

ON_FACTORS = ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
ON_PRODUCTS = ("svd", "ties_svd", "dare_linear_svd", "dare_ties_svd", "magnitude_prune_svd")
METHODS = ("cat", *ON_FACTORS, *ON_PRODUCTS)
MAJORITIES = ("total", "frequency")


@dataclass(frozen=True)
class Recipe:
    """How adapters are combined.

    method: one of METHODS. rank: of the result, for methods that end in svd; the largest of the parts by default.
    density: share of the numbers that are kept, above 0 and up to 1, for ties, dare and magnitude_prune.
    majority_sign_method: how ties settles a sign, by sum (total) or by count (frequency). seed: what dare drops.
    """

    method: str = "svd"
    rank: int | None = None
    density: float | None = None
    majority_sign_method: str = "total"
    seed: int = 0

    def check(self) -> None:
        """Raises AdapterError for a setting that is not allowed, or that the method has no use for."""
        prunes, method = "ties" in self.method or "dare" in self.method or "prune" in self.method, self.method
        if method not in METHODS:
            raise AdapterError(f"method {method!r}: must be {', '.join(METHODS)}{nearest(method, METHODS)}")
        if self.rank is not None and method not in ON_PRODUCTS:
            raise AdapterError(f"rank {self.rank}: {method} has none to choose; only {', '.join(ON_PRODUCTS)} do")
        if self.rank is not None and self.rank < 1:
            raise AdapterError(f"rank {self.rank}: must be at least 1")
        if prunes and (self.density is None or not 0 < self.density <= 1):
            raise AdapterError(f"density {self.density}: {method} needs one above 0 and up to 1")
        if self.density is not None and not prunes:
            raise AdapterError(f"density {self.density}: {method} keeps every number and takes none")
        if self.majority_sign_method not in MAJORITIES:
            raise AdapterError(f"majority_sign_method {self.majority_sign_method!r}: must be {' or '.join(MAJORITIES)}")


@dataclass(frozen=True)
class Factors:
    """One LoRA adapter by layer: its settings, and A (R, D_in) and B (D_out, R) of each layer that it sits on."""

    config: Config
    pairs: dict[str, tuple[Tensor, Tensor]]


def combine(bank: Bank, name: str, parts: Composition, recipe: Recipe) -> Installed:
    """A new LoRA adapter in the bank from others in it, with their weights.

    It sits on every layer that any of them sits on, as in PEFT: where one has none, the others are all there is.
    Raises AdapterError for weights and settings that are not allowed, adapters that are not LoRA, and methods that
    need equal ranks given others; MissingExtraError where PEFT is not installed.
    """
    _check(parts, recipe)
    given = [_factors(bank, part) for part, _ in parts]
    layers = [layer for at, layer in linear_layers(bank.base.model).items() if any(at in one.pairs for one in given)]
    found = combine_factors(layers, given, [weight for _, weight in parts], recipe)
    kind: Kind = plugins.find("tenfold.adapters", "lora")
    built = blank(kind, found.config, layers)
    for layer, part in built.items():
        for factor, value in zip("ab", found.pairs[layer.name], strict=True):
            held = value.to(bank.device_of(layer), torch.float32).contiguous()  # as it is when it is loaded again
            part.register_parameter(factor, nn.Parameter(held))
    return bank.install(name, "lora", found.config, built)


def combine_factors(layers: list[Layer], given: list[Factors], weights: list[float], recipe: Recipe) -> Factors:
    """The same on factors alone; layers: all that any of them has, in the model's order, by which dare draws.

    All scaling is in the numbers: the result's own scale is 1, also where the first adapter is rank-stabilised, from
    which PEFT 0.21 takes sqrt(R) over.
    """
    rank = _rank(layers, given, recipe)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on a density of 1, and on fan_in_fan_out
        model = _peft_model(layers, given)
        torch.default_generator.manual_seed(recipe.seed)
        model.add_weighted_adapter(
            [str(number) for number in range(len(given))], weights, "combined", combination_type=recipe.method,
            svd_rank=recipe.rank, density=recipe.density, majority_sign_method=recipe.majority_sign_method,
        )  # fmt: skip
    pairs = {layer.name: _pair(model, number, "combined") for number, layer in enumerate(layers)}
    return Factors(Config(lora_r=rank, lora_alpha=rank), pairs)


def _check(parts: Composition, recipe: Recipe) -> None:
    recipe.check()
    names = [name for name, _ in parts]
    for name, weight in parts:
        if not math.isfinite(weight):
            raise AdapterError(f"weight {weight} of {name!r}: must be a finite number")
        if names.count(name) > 1:
            raise AdapterError(f"{name!r} is given twice; give it once, with the sum of its weights")
    if not parts or (len(parts) == 1 and recipe.method != "linear"):
        raise AdapterError(f"{recipe.method} combines two adapters or more; {len(parts)} given")


def _factors(bank: Bank, name: str) -> Factors:
    installed = bank.get(name)
    if installed.kind != "lora":
        raise AdapterError(f"{name!r} is {installed.kind}; only lora adapters can be combined")
    values = {key: parameter.detach().cpu() for key, parameter in bank.parameters(name).items()}
    pairs = {layer: (values[f"{layer}.a"], values[f"{layer}.b"]) for layer in installed.modules}
    return Factors(installed.config, pairs)


def _rank(layers: list[Layer], given: list[Factors], recipe: Recipe) -> int:
    """R of the result. Raises AdapterError where the method has none for these."""
    ranks = [one.config.lora_r for one in given]
    if recipe.method == "cat":
        return sum(ranks)
    if recipe.method in ON_FACTORS:
        if len(set(ranks)) > 1:
            raise AdapterError(
                f"{recipe.method} needs adapters of one lora_r, these have {', '.join(map(str, ranks))}; "
                "cat and those that end in svd take any"
            )
        return ranks[0]
    rank = recipe.rank or max(ranks)
    narrow = min(layers, key=lambda layer: min(layer.d_in, layer.d_out))
    most = min(narrow.d_in, narrow.d_out)
    if rank > most:
        raise AdapterError(f"rank {rank}: {narrow.name} is {narrow.d_in} by {narrow.d_out}; at most {most}")
    return rank


def _peft_model(layers: list[Layer], given: list[Factors]) -> Any:
    """PEFT's model of bare layers, named by number, with every adapter on them, named by number too."""
    peft = plugins.optional("peft", "peft", "combining adapters needs")
    places = {layer.name: str(number) for number, layer in enumerate(layers)}
    model = None
    for number, one in enumerate(given):
        config = peft.LoraConfig(
            r=one.config.lora_r, lora_alpha=one.config.lora_alpha, use_rslora=one.config.peft_use_rslora,
            target_modules=[places[layer] for layer in one.pairs],
            fan_in_fan_out=any(layer.transposed for layer in layers),
        )  # fmt: skip
        if model is None:
            model = peft.PeftModel(nn.ModuleList(map(_bare, layers)), config, adapter_name=str(number))
        else:
            model.add_adapter(str(number), config)
        for layer, values in one.pairs.items():
            for parameter, value in zip(_pair(model, int(places[layer]), str(number)), values, strict=True):
                parameter.data.copy_(value)
    return model


def _bare(layer: Layer) -> nn.Module:
    """A layer of that shape whose weight takes no memory; nobody asks for its numbers."""
    with torch.device("meta"):
        new: Any = nn.Linear(layer.d_in, layer.d_out, bias=False)
        if layer.transposed:
            new = Conv1D(layer.d_out, layer.d_in)
    zero = torch.zeros(()).expand(new.weight.shape)
    new.weight = nn.Parameter(zero, requires_grad=False)
    return new  # type: ignore[no-any-return]


def _pair(model: Any, number: int, adapter: str) -> tuple[Tensor, Tensor]:
    host = model.base_model.model[number]
    return host.lora_A[adapter].weight, host.lora_B[adapter].weight
