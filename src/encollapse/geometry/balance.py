"""Balance of the two last layers: ``λ_W WᵀW = λ_H Σ n_k m_k m_kᵀ`` at every minimizer."""

import numpy as np

from encollapse._internal.typing import FloatArray, IntArray


def balance_residual(
    feature_gram: FloatArray,
    classifier_gram: FloatArray,
    class_outputs: FloatArray,
    counts: IntArray,
    *,
    ratio: float | None = None,
) -> float | None:
    """How far classifier and class means are from balance; 0 exactly where they are balanced.

    With ``X = WᵀW``, ``Y = ρ Σ n_k m_k m_kᵀ`` and ``ρ = λ_H/λ_W`` this is the larger of
    ``|W (X - Y) Wᵀ|/|W X Wᵀ|`` and ``|Mᵀ(X - Y)M|/|MᵀYM|`` (M with columns ``√n_k m_k``): it sees every
    direction that the classifier or the means use, and is computed from Gram matrices without taking a
    root, so rounding stays near eps.

    Parameters
    ----------
    feature_gram, classifier_gram, class_outputs, counts
        As in :class:`ClassGeometry`, present classes only.
    ratio : float, optional
        ``ρ``. By default the one that makes the traces of X and Y equal, which tests the shape only.

    Returns
    -------
    float or None
        None where classifier or means are zero.
    """
    root = np.sqrt(counts)
    means = root[:, None] * feature_gram * root[None, :]
    sizes = float(np.trace(classifier_gram)), float(np.trace(means))
    if min(sizes) <= 0:
        return None
    # All three with traces of one: fourth powers of long features leave the range of float64.
    classifier, means = classifier_gram / sizes[0], means / sizes[1]
    outputs = class_outputs * root[None, :] / np.sqrt(sizes[0]) / np.sqrt(sizes[1])
    rho = 1.0 if ratio is None else ratio * sizes[1] / sizes[0]
    by_classifier = np.linalg.norm(classifier @ classifier - rho * outputs @ outputs.T)
    by_means = np.linalg.norm(outputs.T @ outputs - rho * means @ means)
    return float(
        max(by_classifier / np.linalg.norm(classifier @ classifier), by_means / (rho * np.linalg.norm(means @ means)))
    )
