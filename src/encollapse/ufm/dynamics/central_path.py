"""The central path of squared error: features that move while the last layer is always the best one for them.

The loss of the best last layer does not change when all features are multiplied by an invertible matrix. So the
features can be kept at a within-class covariance of one, and what is left of them is the signal-to-noise matrix
``Σ_W^{-1/2} (m_k - m)``. With K balanced classes of n samples, one-hot labels and no decay, the loss is
``Σ_j 1 / (2K (1 + ω_j²/K))`` of its K - 1 singular values ω. The gradient in each sample of a class is 1/n of the one
in their mean, and its part that would change the within-class covariance is projected away. So each ω moves alone:

    dω/dt = ω / (n K² (1 + ω²/K)²)

and with ``u = ω²/K`` the sum ``½ log u + u + u²/4`` grows as ``t / (n K²)`` :cite:p:`han2022`. All ω grow without
bound, and their ratios go to one: that is neural collapse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encollapse._internal import checks
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.errors import ArgumentError

_MOST_STEPS = 100  # of Newton's method, which takes about ten


@dataclass(frozen=True, eq=False)
class CentralPath:
    """Signal-to-noise ratios along the central path, one entry along the first axis for each time.

    Attributes
    ----------
    times : (T,)
        Times, in units of learning rate times steps of full-batch gradient descent on the mean of ``½|o - e|²``.
    signal_to_noise : (T, r)
        Singular values of the signal-to-noise matrix, in the order in which they were given.
    num_classes : int
        Number of classes K.

    Examples
    --------
    >>> import encollapse as ec
    >>> path = ec.ufm.central_path([0.5, 1.0, 2.0], [0.0, 1e3], num_classes=4, samples_per_class=5)
    >>> bool(path.losses[1] < path.losses[0])
    True
    >>> [float(value) for value in path.evenness.round(2)]
    [0.25, 0.93]
    """

    times: FloatArray
    signal_to_noise: FloatArray
    num_classes: int

    @property
    def losses(self) -> FloatArray:
        """Mean of ``½|o - e|²`` with the best last layer at each time, (T,)."""
        k = self.num_classes
        lost = k - 1 - self.signal_to_noise.shape[1]
        return np.asarray((lost + (1.0 / (1.0 + self.signal_to_noise**2 / k)).sum(axis=1)) / (2 * k))

    @property
    def nc1(self) -> FloatArray:
        """``tr(Σ_W Σ_B⁺)/K`` at each time, (T,), which is ``Σ_j 1/ω_j²``."""
        return np.asarray((1.0 / self.signal_to_noise**2).sum(axis=1))

    @property
    def evenness(self) -> FloatArray:
        """Smallest over largest ratio at each time, (T,). At one the class means form a simplex."""
        return np.asarray(self.signal_to_noise.min(axis=1) / self.signal_to_noise.max(axis=1))


def central_path(
    signal_to_noise: ArrayLike, times: ArrayLike, *, num_classes: int, samples_per_class: int
) -> CentralPath:
    """Follow the central path of Han, Papyan & Donoho in closed form :cite:p:`han2022`.

    Gradient flow of the features of all samples, which are kept at a within-class covariance of one, under squared
    error with one-hot labels, balanced classes and a last layer with a bias that is always the least-squares one.

    Parameters
    ----------
    signal_to_noise : (r,)
        Singular values at time 0 of ``Σ_W^{-1/2} (m_k - m)``, a matrix (d, K), at most K - 1 of them. All above 0.
    times : (T,)
        From 0 or above, in units of learning rate times steps.
    num_classes, samples_per_class : int
        K classes of n samples each.

    Returns
    -------
    CentralPath
        The singular values at each time, and what follows from them: loss and NC1.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If a value is out of range or a shape does not fit.

    Examples
    --------
    Of features, here of 4 classes around corners of a cube:

    >>> import numpy as np
    >>> import encollapse as ec
    >>> labels = np.repeat(np.arange(4), 50)
    >>> random = np.random.default_rng(0)
    >>> features = np.eye(4, 3)[labels] + 0.3 * random.standard_normal((200, 3))
    >>> statistics = ec.metrics.ClassStatistics.from_features(features, labels)
    >>> lower = np.linalg.cholesky(statistics.within_covariance)
    >>> offsets = (statistics.means - statistics.means.mean(axis=0)).T
    >>> ratios = np.linalg.svd(np.linalg.solve(lower, offsets), compute_uv=False)
    >>> path = ec.ufm.central_path(ratios, [0.0, 1e4, 1e6], num_classes=4, samples_per_class=50)
    >>> bool(np.isclose(path.nc1[0], ec.metrics.evaluate(ec.metrics.MetricInputs(statistics))[0]["nc1_pinv"]))
    True
    """
    start = checks.array(signal_to_noise, "signal_to_noise", (None,), axes="(r,)")
    moments = checks.array(times, "times", (None,), axes="(times,)")
    k = checks.integer(num_classes, "num_classes", minimum=2)
    n = checks.integer(samples_per_class, "samples_per_class", minimum=1)
    if not 1 <= len(start) <= k - 1 or not (start > 0).all():
        raise ArgumentError(
            f"signal_to_noise: expected 1 to num_classes - 1 = {k - 1} numbers above 0, got {signal_to_noise!r}"
        )
    if len(moments) == 0 or (moments < 0).any():
        raise ArgumentError(f"times: expected values from 0 or above, got {times!r}")
    logarithms = 2 * np.log(start) - np.log(k)
    ends = _grown(logarithms) + moments[:, None] / (n * float(k) ** 2)
    return CentralPath(moments, np.sqrt(k) * np.exp(0.5 * _inverted(ends)), k)


def _grown(logarithm: FloatArray) -> FloatArray:
    """``½ v + e^v + e^{2v}/4``, which grows in proportion to time."""
    u = np.exp(logarithm)
    return np.asarray(0.5 * logarithm + u + 0.25 * u * u)


def _inverted(values: FloatArray) -> FloatArray:
    """Where :func:`_grown` has some values. It is convex and increasing, so Newton's method comes down from above."""
    above = 2 * values
    large = values > 0
    above[large] = np.minimum(above[large], 0.5 * np.log(4 * (values[large] + 1)))
    for _ in range(_MOST_STEPS):
        u = np.exp(above)
        step = (_grown(above) - values) / (0.5 + u + 0.5 * u * u)
        above = above - step
        if (np.abs(step) <= 4 * EPS * np.maximum(1.0, np.abs(above))).all():
            break
    return above
