"""A target Gram matrix: checked, and factored into class means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.errors import ArgumentError


def symmetric_gram(target_gram: ArrayLike) -> tuple[FloatArray, float]:
    """Check that a target is a square, finite, symmetric array; return it and its relative rounding level."""
    gram = checks.array(target_gram, "target_gram", (None, None), axes="(num_classes, num_classes)")
    if gram.shape[0] != gram.shape[1] or len(gram) < 2:
        raise ArgumentError(
            f"target_gram: expected shape (K, K), one row and column for each of at least 2 classes, got {gram.shape}"
        )
    given = checks.to_numpy(target_gram, "target_gram").dtype
    precision = rounding_level(len(gram), given if given.kind == "f" else np.float64)
    peak = float(np.abs(gram).max())
    if peak == 0.0:
        raise ArgumentError(
            "target_gram: every class mean is zero (total collapse), which is what any encoding gives whose weighted "
            "labels E diag(√π) have no singular value above c = √(N λ_W λ_H); ask for a geometry, or raise "
            "weight_decay or feature_decay"
        )
    skew = np.abs(gram - gram.T)
    if skew.max() > precision * peak:
        k, l = (int(i) for i in np.unravel_index(skew.argmax(), skew.shape))  # noqa: E741
        raise ArgumentError(
            f"target_gram: expected a symmetric matrix, got {gram[k, l]:.6g} at ({k}, {l}) and {gram[l, k]:.6g} at "
            f"({l}, {k}), which differ by {skew.max() / peak:.2g} of the largest entry; pass (G + G.T) / 2 if their "
            "mean is meant"
        )
    return 0.5 * (gram + gram.T), precision


def factor(gram: FloatArray, precision: float) -> FloatArray:
    """Return B (r, K) with ``BᵀB = gram``.

    Rank and sign are judged on the cosines, where the rounding of inner products is of one size: a short
    class mean does not count as zero because others are long.
    """
    silent = np.abs(gram).max(axis=0) <= precision * np.abs(gram).max()
    squares = np.where(silent, 1.0, np.diag(gram))
    if (squares <= 0).any():
        _refuse_indefinite(gram)
    lengths = np.sqrt(squares)
    cosines = np.where(silent | silent[:, None], 0.0, gram / lengths / lengths[:, None])
    values, vectors = np.linalg.eigh(cosines)
    if values[0] < -precision * values[-1]:
        _refuse_indefinite(gram)
    kept = values > precision * values[-1]
    unit = np.sqrt(values[kept])[::-1, None] * vectors[:, kept].T[::-1]
    return np.asarray(unit * np.where(silent, 0.0, lengths))


def _refuse_indefinite(gram: FloatArray) -> None:
    values = np.linalg.eigvalsh(gram)
    raise ArgumentError(
        "target_gram: expected a positive semidefinite matrix, as inner products form, but its smallest eigenvalue is "
        f"{values[0]:.6g} (the largest is {values[-1]:.6g}); use the nearest one, "
        "encollapse.encodings.from_similarity(G).gram()"
    )


def rounding_level(num_classes: int, dtype: Any = np.float64) -> float:
    """Relative size up to which eigenvalues and asymmetries of a Gram matrix count as rounding."""
    return float(64 * math.sqrt(num_classes) * np.finfo(dtype).eps)
