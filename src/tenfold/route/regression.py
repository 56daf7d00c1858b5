"""Logistic regression over several classes, by scikit-learn; where they are very many, their mean directions."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from tenfold.route.centres import means
from tenfold.route.features._base import Floats, Matrix, Sparse

STRENGTH = 30.0  # inverse of the penalty on the weights
ROUNDS = 200
MOST_CLASSES = 200
SHARPNESS = 20.0  # from cosines to logits; the temperature settles the rest
TOLERANCE = 1e-2  # of the gradient, divided by the number of classes: with many, all of it is small


def solve(features: Matrix, labels: Sequence[int], classes: int) -> tuple[Floats, Floats]:
    """(B, F) features -> weights (F, N) and offsets (N,) of the logits; every class weighs the same.

    One class has nothing to be told from: its logit is 0. Above MOST_CLASSES the weights are the classes' mean
    directions, which take no solving: a regression over a thousand would need gigabytes and many minutes.
    """
    if classes > MOST_CLASSES:
        return SHARPNESS * means(features, np.asarray(labels), classes).astype(np.float64), np.zeros(classes)
    if classes == 1:
        width = features.width if isinstance(features, Sparse) else features.shape[1]
        return np.zeros((width, 1)), np.zeros(1)
    model = LogisticRegression(C=STRENGTH, max_iter=ROUNDS, class_weight="balanced", tol=TOLERANCE / classes)
    model.fit(_matrix(features), np.asarray(labels))
    weights, offsets = model.coef_.T, model.intercept_
    if classes == 2:  # one logit: half of it for the one, minus half for the other
        weights, offsets = np.concatenate([-weights, weights], 1) / 2, np.concatenate([-offsets, offsets]) / 2
    return weights.astype(np.float64), offsets.astype(np.float64)


def _matrix(features: Matrix) -> object:
    if not isinstance(features, Sparse):
        return features
    shape = (len(features.starts) - 1, features.width)
    return csr_matrix((features.values, features.columns, features.starts), shape=shape)
