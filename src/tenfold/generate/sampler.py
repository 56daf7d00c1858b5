"""Choosing the next token of each row from its logits."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tenfold.generate.request import Sampling

FEW = 1024  # tokens that usually hold top_p; sorting a whole vocabulary takes milliseconds

Chooser = tuple[Sampling, torch.Generator]


def choose(logits: Tensor, rows: Sequence[Chooser]) -> list[int]:
    """logits (T, V) -> one token a row: the best one, or drawn with the row's own random numbers."""
    tokens: list[int] = logits.argmax(-1).tolist()
    for i, (sampling, generator) in enumerate(rows):
        if not sampling.greedy:
            tokens[i] = draw(logits[i], sampling, generator)
    return tokens


def draw(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """logits (V,) -> a token. One random number is used whatever the vocabulary and the filters."""
    tokens, probabilities = distribution(logits, sampling)
    total = probabilities.cumsum(0)
    mark = torch.rand(1, dtype=torch.float64, generator=generator) * total[-1]
    place = torch.searchsorted(total, mark, right=True).clamp(max=len(total) - 1)
    return int(tokens[place])


def distribution(logits: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """logits (V,) -> the tokens (K,) that may be drawn and their weights (K,), on the CPU in float64.

    In transformers' order: temperature, the k best, then the fewest that hold top_p of what is left
    (Holtzman et al. 2019, arXiv:1904.09751). The weights need not add up to 1.
    """
    scores = logits.to("cpu", torch.float64) / sampling.temperature
    tokens = torch.arange(len(scores))
    if sampling.top_k:
        scores, tokens = scores.topk(min(sampling.top_k, len(scores)))
    if sampling.top_p == 1:
        return tokens, scores.softmax(-1)
    places, probabilities = _nucleus(scores, sampling.top_p)
    return tokens[places], probabilities


def _nucleus(scores: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """scores (K,) -> places and probabilities of the fewest that hold top_p; sorts all only where few don't."""
    total = scores.logsumexp(0)
    for size in (min(FEW, len(scores)), len(scores)):
        best, places = scores.topk(size)
        probabilities = (best - total).exp()
        held = probabilities.cumsum(0)
        if held[-1] >= top_p:
            break
    keep = held - probabilities < top_p
    return places[keep], probabilities[keep]
