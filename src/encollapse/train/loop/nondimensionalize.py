"""The units in which a network trains: codewords of size one, and one decay for weights and features."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Units:
    """How many of the user's units one training unit is.

    Substituting ``e = ρ e'``, ``b = ρ b'``, ``W = ω W'``, ``h = η h'`` with ``ω η = ρ`` turns the objective
    into ``ρ²`` times itself with other decays. With ``ρ`` the root mean square of the codewords, and ``ω``
    and ``η`` such that ``λ_W' = N λ_H'``, learning rates and initial sizes mean the same for every encoding
    and every split of the regularization: only ``λ_W' = N λ_H' = c/ρ`` and ``λ_b`` are left. Minimizers
    correspond one to one. A loss that is not homogeneous, such as cross-entropy, has ``ρ = 1``.

    Attributes
    ----------
    codeword : float
        ``ρ``, also the unit of the bias and of the outputs.
    weight, feature : float
        ``ω`` and ``η``.
    decay : float
        ``c/ρ``: the weight decay in training units, and N times the feature decay, or 0 where the two differ.
    """

    codeword: float
    weight: float
    feature: float
    decay: float

    @classmethod
    def of(cls, codeword_size: float, num_samples: int, *, weight_decay: float, feature_decay: float) -> Units:
        """Units for codewords of root mean square norm `codeword_size` over the samples."""
        size = codeword_size if codeword_size > 0 else 1.0
        root = math.sqrt(num_samples * feature_decay) / math.sqrt(weight_decay)
        threshold = math.sqrt(num_samples * feature_decay) * math.sqrt(weight_decay)
        return cls(size, math.sqrt(size * root), math.sqrt(size / root), threshold / size)

    @classmethod
    def around(cls, codeword_size: float, weight_size: float) -> Units:
        """Units for a classifier that is given: its size is one."""
        size = codeword_size if codeword_size > 0 else 1.0
        return cls(size, weight_size, size / weight_size, 0.0)

    @classmethod
    def plain(cls) -> Units:
        """The user's own: where the backbone's parameters are regularized, no layer can be rescaled for free."""
        return cls(1.0, 1.0, 1.0, 0.0)
