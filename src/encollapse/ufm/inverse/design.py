"""The inverse problem: the encoding whose minimizer has a given geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse._internal.warn import warn
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError
from encollapse.ufm.inverse.target import Target

LARGE_BIAS = 100.0
"""Length of the bias, in units of the root mean square of the codewords about it, from which a design warns."""

LOST_DIGITS = 1e-9
"""Relative error of the Gram matrix, forecast from the conditioning, from which a design warns."""

_CENTERED_MEAN = 1e-9  # length of the mean codeword, in units of the largest entry, that counts as zero


def design(
    target_gram: ArrayLike | str,
    counts: ArrayLike,
    *,
    weight_decay: float,
    feature_decay: float,
    bias_decay: float = math.inf,
    code_dim: int | None = None,
    name: str = "designed",
    classes: Sequence[str] | None = None,
) -> Encoding:
    """Find an encoding whose unique minimizer has the given Gram matrix of class means.

    With ``|Z| = √(N λ_H/λ_W) diag(u) Γ diag(u) = V S Vᵀ`` and any U with orthonormal columns, ``P = U Vᵀ``, the
    labels

        ``E diag(u) = U S Vᵀ + c P + b uᵀ,   b = (c/λ_b) P u``

    satisfy the optimality conditions of the convex problem at ``Z = U S Vᵀ`` and this b. So
    ``solve(Problem(E, counts, ...)).geometry.feature_gram`` is Γ, for any counts: a simplex equiangular tight
    frame in spite of class imbalance, a hierarchy, similarities of class names. What is proved is on the page
    :doc:`/design`.

    Parameters
    ----------
    target_gram : (K, K) array_like or {"simplex", "orthogonal"}
        Inner products of the uncentered class means that are wanted: symmetric, positive semidefinite, any rank.
        A name stands for that frame in the size of ``scale_target(..., like="one_hot")``.
    counts : int or (K,) ints
        Samples per class. With a named target, one count a class.
    weight_decay, feature_decay : float
        ``λ_W`` and ``λ_H`` of the training, above 0.
    bias_decay : float
        ``λ_b``. Any target can be had from above 0 to ``math.inf`` (no bias). At 0, exactly those with
        ``Σ π_k m_k = 0``. These have b = 0 at every bias decay, and one encoding serves them all.
    code_dim : int, optional
        Length q of a codeword, at least the rank of the target. Default: K.
    name, classes
        Of the encoding.

    Returns
    -------
    Encoding
        With the U nearest to V cut or padded to `code_dim` rows: from ``code_dim = K`` on, ``Z = |Z|`` (and zeros
        below), so entry k of a codeword speaks of class k as a one-hot label's would. Its `designed_for`, which a saved
        file keeps, holds the setting. ``encollapse predict`` and ``train`` warn where they are given another one.

    Raises
    ------
    ArgumentError
        If the target is not symmetric, not positive semidefinite or zero, if `code_dim` is below its rank, if
        ``bias_decay=0`` and it is not centered, or if a setting is out of range.

    Warns
    -----
    EncollapseWarning
        If b is large beside the codewords, if digits of the target are lost, or if classes get the same codeword.

    Examples
    --------
    >>> import encollapse as ec
    >>> decays = dict(weight_decay=5e-3, feature_decay=1e-4)
    >>> counts = [100, 100, 100, 4, 4]
    >>> encoding = ec.ufm.design("simplex", counts, **decays)
    >>> problem = ec.ufm.Problem(encoding, counts, bias_decay=float("inf"), **decays)
    >>> round(ec.ufm.solve(problem).geometry.cosine(0, 4), 9)
    -0.25
    """
    target = Target.of(
        target_gram, counts, weight_decay=weight_decay, feature_decay=feature_decay, bias_decay=bias_decay
    )
    setting = target.setting
    q = setting.num_classes if code_dim is None else checks.integer(code_dim, "code_dim", minimum=1)
    if q < target.rank:
        raise ArgumentError(
            f"code_dim: the target has rank {target.rank}, which outputs of {q} dimensions cannot learn; expected at "
            f"least {target.rank}"
        )
    if setting.bias_decay == 0.0 and not target.is_centered:
        raise ArgumentError(
            "bias_decay: at 0 the bias centers the class means, Σ π_k m_k = 0, whatever the encoding, but the mean of "
            f"this target is {target.off_center:.3g} of the root mean square length of its class means; use "
            "bias_decay=math.inf (or any value above 0), or center the target: "
            "ClassGeometry(target_gram, counts).feature_gram_centered"
        )
    u, c = np.sqrt(setting.priors), setting.threshold
    left = _left_factor(target.right, q)
    shape = (left * (target.singular + c)) @ target.right
    bias = np.zeros(q)
    if not target.is_centered and not math.isinf(setting.bias_decay):
        bias = c / setting.bias_decay * (left @ (target.right @ u))
    _warn(target, float(np.linalg.norm(bias)), float(np.linalg.norm(shape)))
    designed_for = {"counts": setting.counts} | {
        key: getattr(setting, key) for key in ("weight_decay", "feature_decay", "bias_decay")
    }
    return Encoding(shape / u + bias[:, None], name=name, classes=classes, designed_for=designed_for)


def design_mismatch(encoding: Encoding, counts: IntArray, **decays: float | None) -> str | None:
    """Say where a designed encoding meets another setting than its own, which gives it another geometry.

    Parameters
    ----------
    encoding : Encoding
        Any encoding.
    counts : (K,) ints
        Samples per class.
    **decays : float or None
        Any of `weight_decay`, `feature_decay` and `bias_decay`, or None where it is not known.

    Returns
    -------
    str or None
        None for encodings that were not designed, and where all agrees. Codewords with mean zero serve every bias
        decay.
    """
    setting = encoding.designed_for
    if setting is None:
        return None
    mean = float(np.linalg.norm(encoding.mean(counts / counts.sum())))
    if mean <= _CENTERED_MEAN * float(np.abs(encoding.codewords).max()):
        decays.pop("bias_decay", None)
    off = [
        (name, f"{setting[name]:g}", f"{value:g}")
        for name, value in decays.items()
        if value is not None and not math.isclose(value, setting[name], rel_tol=1e-9)
    ]
    if tuple(counts.tolist()) != setting["counts"]:
        off.append(("counts", _shown(setting["counts"]), _shown(counts.tolist())))
    if not off:
        return None
    return (
        f"encoding: {encoding.name!r} was designed for "
        + ", ".join(f"{name}={own}" for name, own, _ in off)
        + " and here "
        + ", ".join(f"{name}={here}" for name, _, here in off)
        + "; only in its own setting, encoding.designed_for, does it have the geometry of its target"
    )


def _shown(counts: Sequence[int]) -> str:
    listed = ",".join(map(str, counts[:8]))
    return listed if len(counts) <= 8 else f"{listed},..."


def _left_factor(right: FloatArray, code_dim: int) -> FloatArray:
    """Orthonormal columns U (q, r) nearest to V cut or padded to q rows.

    That is the polar factor, which does not depend on the basis of V within equal singular values (as long as
    the rows kept have full rank), and V itself from ``q = K`` on.
    """
    memory.require_room("code_dim", code_dim, len(right), instead="give a smaller one")
    cut = np.zeros((code_dim, len(right)))
    rows = min(code_dim, right.shape[1])
    cut[:rows] = right.T[:rows]
    first, _, second = np.linalg.svd(cut, full_matrices=False)
    return np.asarray(first @ second)


def _warn(target: Target, bias: float, spread: float) -> None:
    setting, gram = target.setting, target.gram
    if bias > LARGE_BIAS * spread:
        warn(
            f"bias_decay: at {setting.bias_decay:g} this target needs a bias of length {bias:.3g}, {bias / spread:.3g} "
            "times the root mean square of the codewords about it, which a network learns slowly; prefer a larger "
            "bias_decay or math.inf, or a centered target"
        )
    # Rounding of the codewords and of their decomposition, then the division by u on both sides. On thousands of
    # hostile designs the error stayed below 6 times this without the leading factor.
    rounding = EPS * (float(target.singular.max()) + setting.threshold + bias)
    wanted = setting.balance**2 * float(np.linalg.norm(gram))
    error = 8 * math.sqrt(setting.num_classes) * rounding / float(setting.priors.min()) / wanted
    if error > LOST_DIGITS:
        warn(
            f"target_gram: float64 resolves the geometry of this design to about {error:.1g} of its size only (target "
            f"{float(target.singular.max()):.3g} against a threshold of {setting.threshold:.3g} and a bias of "
            f"{bias:.3g}, counts from {setting.counts.min()} to {setting.counts.max()}); scale_target gives it a size "
            "that suits the decays"
        )
    squares = np.diag(gram)
    apart = squares[:, None] + squares - 2 * gram
    apart[np.tril_indices(len(gram))] = np.inf
    if apart.min() <= 64 * EPS * squares.max():
        k, l = (int(i) for i in np.unravel_index(apart.argmin(), apart.shape))  # noqa: E741
        warn(
            f"target_gram: classes {k} and {l} have the same mean, so they get the same codeword and decoding cannot "
            "tell them apart; leave them some distance, or make them one class"
        )
