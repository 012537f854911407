"""Any targets as classes: every distinct target vector is a class, and how often it occurs is its count."""

from __future__ import annotations

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings.encoding import Encoding
from encollapse.errors import ArgumentError


def from_targets(targets: ArrayLike, *, name: str = "targets") -> tuple[Encoding, IntArray, IntArray]:
    """Turn the targets of a regression, or of any other task, into an encoding with counts.

    The unrestricted feature model knows samples only by their targets, so samples with equal targets are a class.
    Continuous targets make as many classes as samples, and nothing else changes :cite:p:`andriopoulos2024`.

    Parameters
    ----------
    targets : array_like, shape (N, q) or (N,)
        One target vector, or number, a sample; finite.
    name : str
        Name of the encoding.

    Returns
    -------
    encoding : Encoding
        The K distinct targets as codewords (q, K), in lexicographic order.
    counts : (K,) ints
        Samples with each target.
    labels : (N,) ints
        Class of each sample: ``encoding.encode(labels)`` are the targets again.

    Raises
    ------
    ArgumentError
        If an entry is not finite, or all targets are equal.

    Examples
    --------
    >>> import encollapse as ec
    >>> encoding, counts, labels = ec.encodings.from_targets([0.5, 2.0, 0.5, -1.0])
    >>> encoding.codewords
    array([[-1. ,  0.5,  2. ]])
    >>> counts, labels
    (array([1, 2, 1]), array([1, 2, 1, 0]))
    """
    raw = checks.to_numpy(targets, "targets")
    if raw.ndim == 1:
        raw = raw[:, None]
    # Adding 0 turns -0 into 0: they are one target.
    rows: FloatArray = checks.array(raw, "targets", (None, None), axes="(num_samples, code_dim)") + 0.0
    distinct, labels, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    if len(distinct) < 2:
        raise ArgumentError(
            f"targets: expected at least two distinct targets, got {len(rows)} times {distinct[0].tolist()}; "
            "there is nothing to tell apart"
        )
    return (Encoding(distinct.T, name=name), counts.astype(np.int64), labels.reshape(-1).astype(np.int64))
