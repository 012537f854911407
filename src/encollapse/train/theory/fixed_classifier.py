"""Classifiers that are given instead of trained: a frame made from the encoding, and what the features then do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from encollapse._internal.typing import FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError
from encollapse.geometry import ClassGeometry
from encollapse.ufm.losses import check_loss
from encollapse.ufm.losses.squared_error import SQUARED_ERROR

_RANK_TOLERANCE = 1e-12  # singular values below this share of the largest are rounding


def frame_of_encoding(encoding: Encoding, feature_dim: int) -> FloatArray:
    """Weight (q, d) whose Gram matrix is that of the centered codewords, ``W Wᵀ ∝ E_c E_cᵀ``, of operator norm 1.

    For one-hot labels its rows are a simplex equiangular tight frame, as in :cite:t:`zhu2021`.

    Raises
    ------
    ArgumentError
        If the features have fewer dimensions than the codewords span, or the codewords are all the same.
    """
    left, values, _ = np.linalg.svd(encoding.centered().codewords, full_matrices=False)
    rank = int(np.count_nonzero(values > _RANK_TOLERANCE * max(values[0], 1.0)))
    if rank == 0:
        raise ArgumentError("classifier: all codewords are the same, so they span no frame; give a matrix")
    if rank > feature_dim:
        raise ArgumentError(
            f"feature_dim: a classifier made from this encoding needs {rank} dimensions, got {feature_dim}"
        )
    frame = left[:, :rank] * (values[:rank] / values[0])
    if encoding.code_dim <= feature_dim:
        # The symmetric root: each output has a feature of its own, which non-negative features need.
        frame = frame @ left[:, :rank].T
    weight = np.zeros((encoding.code_dim, feature_dim))
    weight[:, : frame.shape[1]] = frame
    return weight


@dataclass(frozen=True, eq=False)
class FixedMinimum:
    """The minimum over features and bias for a given weight. That problem is convex, and all samples of a class agree.

    Attributes
    ----------
    geometry : ClassGeometry
        Of the minimizer.
    loss : float
        The minimum, with the constant term of the weight.
    """

    geometry: ClassGeometry
    loss: float


def fixed_minimum(
    encoding: Encoding,
    counts: IntArray,
    weight: FloatArray,
    *,
    weight_decay: float,
    feature_decay: float,
    bias_decay: float,
    loss: str = "mse",
    rectified: bool = False,
) -> FixedMinimum:
    """Minimize ``mean ℓ(W h + b; e) + λ_H/2 Σ|h|² + λ_b/2 |b|² + λ_W/2 |W|²`` over the features and the bias.

    Parameters
    ----------
    encoding : Encoding
        Codewords (q, K).
    counts : (K,) ints
        Samples per class.
    weight : (q, d) array
        W, which stays.
    weight_decay, feature_decay, bias_decay : float
        ``λ_W``, which only adds a constant, ``λ_H`` above 0, and ``λ_b``, infinite for no bias.
    loss : {"mse", "cross_entropy"}
        ℓ.
    rectified : bool
        Features have no entry below 0.
    """
    codewords = encoding.codewords
    kind = check_loss(loss) or SQUARED_ERROR
    copies = np.ones_like(codewords)
    priors = counts / counts.sum()
    num_classes, dim = len(counts), weight.shape[1]
    has_bias = np.isfinite(bias_decay)
    # In these variables the feature decay is ½|x|² and every class curves alike.
    units = 1.0 / np.sqrt(feature_decay * counts)

    def parts(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        means = x[: dim * num_classes].reshape(dim, num_classes) * units
        return means, x[dim * num_classes :] if has_bias else np.zeros(len(weight))

    def value(x: FloatArray) -> tuple[float, FloatArray]:
        means, bias = parts(x)
        outputs = weight @ means + bias[:, None]
        values = kind.value(outputs, codewords, copies)
        slopes = kind.gradient(outputs, codewords, copies) * priors
        scaled = x[: dim * num_classes]
        gradient = (weight.T @ slopes * units).ravel() + scaled
        total = float(values @ priors) + 0.5 * float(scaled @ scaled)
        if not has_bias:
            return total, gradient
        total += 0.5 * bias_decay * float(bias @ bias)
        return total, np.concatenate([gradient, slopes.sum(axis=1) + bias_decay * bias])

    start = np.zeros(dim * num_classes + (len(weight) if has_bias else 0))
    bounds = [(0.0 if rectified else None, None)] * (dim * num_classes) + [(None, None)] * (
        len(start) - dim * num_classes
    )
    options = {"maxiter": 20000, "maxfun": 200000, "ftol": 0.0, "gtol": 1e-12, "maxcor": 30}
    found = minimize(value, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    means, bias = parts(found.x)
    geometry = ClassGeometry(
        means.T @ means,
        counts,
        classifier_gram=weight @ weight.T,
        class_outputs=weight @ means,
        bias=bias,
        provenance={"source": "minimum over features and bias for a fixed weight"},
    )
    return FixedMinimum(geometry, float(found.fun) + 0.5 * weight_decay * float(np.sum(weight**2)))
