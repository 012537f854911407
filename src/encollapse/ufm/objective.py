"""The objective itself, for anybody's parameters."""

import math

import numpy as np

from encollapse import _checks
from encollapse._typing import ArrayLike
from encollapse.errors import ArgumentError
from encollapse.ufm.problem import Problem


def objective(
    problem: Problem, weight: ArrayLike, class_means: ArrayLike, bias: ArrayLike | None = None
) -> float:
    """Value of the UFM objective F where every sample sits at its class mean.

    Parameters
    ----------
    problem : Problem
        Encoding, counts and regularisation.
    weight : (q, d)
        Last linear layer.
    class_means : (d, K)
        Features, one column a class.
    bias : (q,), optional
        Default zeros.

    Returns
    -------
    float
        F; infinity where ``bias_decay`` is infinite and the bias is not zero.

    Raises
    ------
    ArgumentError
        If a shape does not fit the problem, or an entry is not finite.
    """
    q, k = problem.code_dim, problem.num_classes
    w = _checks.array(weight, "weight", (q, None), axes="(code_dim, feature_dim)")
    m = _checks.array(class_means, "class_means", (None, k), axes="(feature_dim, num_classes)")
    if w.shape[1] != m.shape[0]:
        raise ArgumentError(
            f"class_means: expected shape ({w.shape[1]}, {k}) to go with the weight of shape {w.shape}, got {m.shape}"
        )
    b = np.zeros(q) if bias is None else _checks.array(bias, "bias", (q,), axes="(code_dim,)")
    residual = w @ m + b[:, None] - problem.encoding.codewords
    fit = 0.5 * float(np.sum(residual**2 @ problem.priors))
    decay = 0.5 * problem.weight_decay * float(np.sum(w**2))
    decay += 0.5 * problem.feature_decay * float(np.sum(m**2 @ problem.counts))
    if not b.any():
        return fit + decay
    return (
        math.inf if math.isinf(problem.bias_decay) else fit + decay + 0.5 * problem.bias_decay * float(b @ b)
    )
