"""The objective with any number of weight layers and either sign of features, minimized by L-BFGS-B."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]


def layered_objective(
    problem: Any, layers: list[Array], means: Array, bias: Array
) -> tuple[float, list[Array], Array, Array]:
    """Value of F and its gradients with respect to layers, class means and bias."""
    counts, priors = problem.counts, problem.counts / problem.counts.sum()
    inputs = [means]
    for layer in layers:
        inputs.append(layer @ inputs[-1])
    outputs, targets = inputs[-1] + bias[:, None], problem.encoding.codewords
    if problem.loss == "cross_entropy":
        powers = np.exp(outputs - outputs.max(axis=0))
        soft = powers / powers.sum(axis=0)
        residual = soft - targets
        value = -float((targets * np.log(np.maximum(soft, 1e-300)) @ priors).sum())
    else:
        residual = outputs - targets
        value = 0.5 * float((residual**2 @ priors).sum())
    value += 0.5 * problem.feature_decay * float((means**2 @ counts).sum())
    back = residual * priors
    bias_gradient = back.sum(axis=1)
    if not np.isinf(problem.bias_decay):
        value += 0.5 * problem.bias_decay * float(bias @ bias)
        bias_gradient = bias_gradient + problem.bias_decay * bias
    gradients: list[Array] = []
    for layer, decay, before in zip(
        reversed(layers), reversed(problem.weight_decays), reversed(inputs[:-1]), strict=True
    ):
        value += 0.5 * decay * float((layer**2).sum())
        gradients.insert(0, back @ before.T + decay * layer)
        back = layer.T @ back
    return value, gradients, back + problem.feature_decay * counts * means, bias_gradient


def brute_force_layers(problem: Any, seed: int, feature_dim: int, restarts: int) -> tuple[float, Array]:
    """Lowest value from random starts, and the Gram matrix of the class means there."""
    q, k, d, depth = problem.code_dim, problem.num_classes, feature_dim, problem.depth
    shapes = [(d, d)] * (depth - 1) + [(q, d), (d, k)]
    if not np.isinf(problem.bias_decay):
        shapes.append((q, 1))
    ends = list(itertools.accumulate(rows * columns for rows, columns in shapes))
    # Variables of one size, each with the same decay: L-BFGS is slow otherwise.
    total = float(problem.counts.sum()) * problem.feature_decay * float(np.prod(problem.weight_decays))
    common = total ** (1 / (depth + 1))
    sizes = [np.full(s, np.sqrt(common / w)) for s, w in zip(shapes, problem.weight_decays, strict=False)]
    sizes.append(np.tile(np.sqrt(common / problem.feature_decay / problem.counts), (d, 1)))
    sizes.extend(np.ones(s) for s in shapes[depth + 1 :])

    def unpack(v: Array) -> tuple[list[Array], Array, Array]:
        flat = zip(np.split(v, ends[:-1]), shapes, sizes, strict=True)
        parts = [part.reshape(shape) * size for part, shape, size in flat]
        return parts[:depth], parts[depth], parts[depth + 1][:, 0] if len(parts) > depth + 1 else np.zeros(q)

    def function(v: Array) -> tuple[float, Array]:
        value, layers, means, bias = layered_objective(problem, *unpack(v))
        every = [*layers, means, bias] if len(shapes) > depth + 1 else [*layers, means]
        return value, np.concatenate([(p * s.reshape(p.shape)).ravel() for p, s in zip(every, sizes, strict=True)])

    bounds: list[tuple[float | None, None]] = [(None, None)] * ends[-1]
    if problem.features == "relu":
        bounds[ends[depth - 1] : ends[depth]] = [(0, None)] * (d * k)
    rng = np.random.default_rng(seed)
    best, gram = np.inf, np.zeros((k, k))
    for _ in range(restarts):
        start = rng.standard_normal(ends[-1]) * rng.choice([0.4, 0.8, 1.3])
        low = np.array([-np.inf if bound[0] is None else 0.0 for bound in bounds])
        found = minimize(
            function,
            np.where(np.isinf(low), start, np.abs(start)),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 5000, "maxfun": 8000, "ftol": 1e-16, "gtol": 1e-11},
        )
        if found.fun < best:
            _, means, _ = unpack(found.x)
            best, gram = float(found.fun), means.T @ means
    return best, gram


def sized_problem(module: Any, encoding: Any, counts: Any, share: float, **options: Any) -> Any:
    """Problem whose threshold of learning is `share` of the largest singular value of the weighted labels."""
    depth = options.get("depth", 1)
    decays = options.pop("weight_decay", 7e-3)
    listed = list(decays) if isinstance(decays, list | tuple) else [decays] * depth
    total = int(np.sum(counts)) if np.ndim(counts) else int(counts) * encoding.num_classes
    size = np.linalg.norm(encoding.codewords * np.sqrt(np.broadcast_to(counts, encoding.num_classes) / total), 2)
    # The threshold of M layers is M (M-1)^{(1-M)/(2M)} (N λ_H Π λ_l)^{1/(2M)}.
    factor = depth * max(depth - 1, 1) ** ((1 - depth) / (2 * depth))
    product = (share * size / factor) ** (2 * depth)
    feature_decay = product / total / float(np.prod(listed))
    return module.Problem(encoding, counts, weight_decay=decays, feature_decay=feature_decay, **options)
