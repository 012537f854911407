"""The objective itself, for anybody's parameters."""

import functools
import math
from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.errors import ArgumentError
from encollapse.ufm.bias_decay import bias_penalty
from encollapse.ufm.deep.layers import check_layers, is_layers, split_cost
from encollapse.ufm.problem import Problem


def objective(
    problem: Problem, weight: ArrayLike | Sequence[ArrayLike], class_means: ArrayLike, bias: ArrayLike | None = None
) -> float:
    """Value of the UFM objective F where every sample sits at its class mean.

    Parameters
    ----------
    problem : Problem
        Encoding, counts and regularization.
    weight : (q, d), or a list of matrices
        Last linear layer. With several weight layers either all of them, ``[W_1, …, W_M]`` in the order in which
        they act, or their product, which is then taken at its cheapest split into layers.
    class_means : (d, K)
        Features, one column a class.
    bias : (q,), optional
        Default zeros.

    Returns
    -------
    float
        F, infinity where ``bias_decay`` is infinite and the bias is not zero, and where ``features="relu"`` and an
        entry of the class means is below 0.

    Raises
    ------
    ArgumentError
        If a shape does not fit the problem, or an entry is not finite.

    Examples
    --------
    >>> import encollapse as ec
    >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=2e-3)
    >>> solution = ec.ufm.solve(problem)
    >>> weight, class_means, bias = solution.parameters()
    >>> abs(ec.ufm.objective(problem, weight, class_means, bias) - solution.loss) < 1e-15
    True
    >>> ec.ufm.objective(problem, 1.1 * weight, class_means, bias) > solution.loss
    True
    """
    checks.instance(problem, "problem", Problem)
    q, k = problem.code_dim, problem.num_classes
    if is_layers(weight):
        layers = check_layers(weight, problem.depth, q)
        w = functools.reduce(lambda product, layer: np.asarray(layer @ product), layers)
        pairs = zip(problem.weight_decays, layers, strict=True)
        decay = 0.5 * sum(value * float(np.sum(layer**2)) for value, layer in pairs)
    else:
        w = checks.array(weight, "weight", (q, None), axes="(code_dim, feature_dim)")
        decay = split_cost(w, problem.weight_decays)
    m = checks.array(class_means, "class_means", (None, k), axes="(feature_dim, num_classes)")
    if w.shape[1] != m.shape[0]:
        raise ArgumentError(
            f"class_means: expected shape ({w.shape[1]}, {k}) to go with the weight of shape {w.shape}, got {m.shape}"
        )
    b = np.zeros(q) if bias is None else checks.array(bias, "bias", (q,), axes="(code_dim,)")
    if (problem.features == "relu" and (m < 0).any()) or (math.isinf(problem.bias_decay) and b.any()):
        return math.inf
    priors = problem.priors if problem.class_weights is None else problem.priors * problem.class_weights
    fit = float(class_losses(problem, w @ m + b[:, None]) @ priors)
    decay += 0.5 * problem.feature_decay * float(np.sum(m**2 @ problem.counts))
    if problem.mean_root != 1.0:
        center = m @ problem.priors
        extra = np.inf if math.isinf(problem.mean_root) else problem.mean_root**2 - 1.0
        square = float(center @ center)
        # A mean that is rounding of the class means is zero, which an infinite price asks for.
        if square <= (64 * EPS) ** 2 * float(np.sum(m**2 @ problem.priors)):
            square = 0.0
        decay += 0.5 * problem.feature_decay * problem.num_samples * (extra * square if square else 0.0)
    return fit + decay + bias_penalty(problem.bias_decay, b)


def class_losses(problem: Problem, outputs: FloatArray) -> FloatArray:
    """Loss of each class at outputs (q, K), bias included."""
    return problem.any_loss.value(outputs, problem.targets, np.ones_like(outputs))
