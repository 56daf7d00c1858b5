"""Probabilities that can be believed: temperature scaling, and how far off they are before and after.

One temperature divides all logits; it is the one with the least negative log-likelihood on validation texts (Guo et
al. 2017, arXiv:1706.04599), with the true class at (n + 1) / (n + 2) instead of 1 (Platt 1999), so that n texts that
are all right do not make it certain of everything. The expected calibration error is the mean gap between confidence
and accuracy over 15 bins of equal width, weighted by how many texts fall into each.
"""

from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
BINS = 15
COLDEST, HOTTEST = -4.0, 4.0  # logarithms of the temperature
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Calibration:
    """What the temperature did on n validation texts; nan where there were none."""

    temperature: float
    n: int
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float


def calibrate(logits: Floats, labels: Labels) -> Calibration:
    """The best temperature for logits (B, N) of texts whose class is known."""
    if not len(labels):
        return Calibration(1.0, 0, *[float("nan")] * 4)
    temperature = _least(logits, labels) if logits.shape[1] > 1 else 1.0
    before, after = softmax(logits), softmax(logits / temperature)
    return Calibration(
        temperature, len(labels), ece(before, labels), ece(after, labels), nll(before, labels), nll(after, labels)
    )


def softmax(logits: Floats) -> Floats:
    """(B, N) -> (B, N): probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def logsumexp(logits: Floats) -> Floats:
    """(B, N) -> (B,)."""
    top = logits.max(axis=1)
    return np.asarray(top + np.log(np.exp(logits - top[:, None]).sum(axis=1)))


def nll(probabilities: Floats, labels: Labels) -> float:
    """Mean negative log-likelihood of the true classes, in nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def ece(probabilities: Floats, labels: Labels) -> float:
    """Expected calibration error, from 0 to 1."""
    return float(ece_statistic(ece_rows(probabilities, labels).sum(axis=0, keepdims=True))[0])


def ece_rows(probabilities: Floats, labels: Labels) -> Floats:
    """(B, BINS + 1): confidence minus right or wrong in the bin of each text, and 1."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    rows = np.zeros((len(labels), BINS + 1))
    rows[np.arange(len(labels)), np.minimum((confidence * BINS).astype(int), BINS - 1)] = confidence - right
    rows[:, BINS] = 1
    return rows


def ece_statistic(sums: Floats) -> Floats:
    """(M, BINS + 1) sums of rows -> (M,)."""
    return np.asarray(np.abs(sums[:, :BINS]).sum(axis=1) / np.maximum(sums[:, BINS], 1))


def _least(logits: Floats, labels: Labels) -> float:
    """By golden section; the likelihood has one hill in the inverse temperature."""
    low, high = COLDEST, HOTTEST
    while high - low > 1e-4:
        step = GOLDEN * (high - low)
        if _loss(logits, labels, high - step) < _loss(logits, labels, low + step):
            high = low + step
        else:
            low = high - step
    return exp((low + high) / 2)


def _loss(logits: Floats, labels: Labels, power: float) -> float:
    scaled, n = logits / exp(power), len(labels)
    doubt = 1 / (n + 2)
    true = scaled[np.arange(n), labels]
    others = (scaled.sum(axis=1) - true) / (scaled.shape[1] - 1)
    return float((logsumexp(scaled) - (1 - doubt) * true - doubt * others).mean())
