"""Non-negative features under any convex loss, with the classifier and the bias among the unknowns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.ufm.convex.composite import Composite
from encollapse.ufm.relu.lower_bound import DualPoint

_EMPTY = np.zeros(0)


@dataclass(frozen=True, eq=False)
class ReluConvexModel:
    """``Σ_k π_k ℓ(W x_k/u_k + b; e_k) + c/2 |W|² + c/2 |X|² + λ_b/2 |b|²``, so that both factors cost the same.

    Attributes
    ----------
    composite : Composite
        Fit and bias penalty, over a table with one column a class.
    """

    composite: Composite

    @property
    def threshold(self) -> float:
        """``c``."""
        return self.composite.threshold

    @property
    def weight_price(self) -> float:
        """Also c: the factors are balanced."""
        return self.composite.threshold

    @property
    def code_dim(self) -> int:
        """Length q of an output."""
        return self.composite.table.shape[0]

    @property
    def num_classes(self) -> int:
        """K."""
        return self.composite.table.shape[1]

    @property
    def _bias_unit(self) -> float:
        """Unit of the bias in which its second derivative is about 1."""
        return 1.0 / math.sqrt(1.0 + self.composite.bias_decay)

    @cached_property
    def resting_bias(self) -> FloatArray:
        """Best bias (q,) where nothing is learned."""
        return self.composite.start()[1]

    def rest(self, weight: FloatArray, bias: FloatArray) -> FloatArray:
        """Write classifier (q, d) and bias (q,) into one vector."""
        stretched = bias / self._bias_unit if self.composite.has_bias else _EMPTY
        return np.concatenate([weight.ravel(), stretched])

    def parts(self, features: FloatArray, rest: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Classifier (q, d) and bias (q,) of a vector."""
        size = self.code_dim * len(features)
        weight = rest[:size].reshape(self.code_dim, len(features))
        bias = rest[size:] * self._bias_unit if self.composite.has_bias else np.zeros(self.code_dim)
        return weight, bias

    def value_and_gradient(self, features: FloatArray, rest: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """The objective, its derivative in the features, and in the rest."""
        k, c = self.composite, self.threshold
        weight, bias = self.parts(features, rest)
        outputs = k.table.forward(weight @ features, _EMPTY, bias)
        matrix, _, mean = k.pull(k.gradient(outputs))
        decay = 0.5 * c * float(np.sum(weight**2) + np.sum(features**2))
        to_bias = (mean + k.bias_decay * bias) * self._bias_unit if k.has_bias else _EMPTY
        to_rest = np.concatenate([(matrix @ features.T + c * weight).ravel(), to_bias])
        return k.fit(outputs) + decay + k.penalty(bias), weight.T @ matrix + c * features, to_rest

    def outputs(self, features: FloatArray, rest: FloatArray) -> FloatArray:
        """``Z = W X`` (q, K)."""
        return np.asarray(self.parts(features, rest)[0] @ features)

    def rest_of(self, outputs: FloatArray, features: FloatArray, rest: FloatArray) -> FloatArray:
        """The least classifier that gives `outputs` from other features, which have full rank."""
        bias = rest[len(rest) - self.code_dim * self.composite.has_bias :] * self._bias_unit
        weight = np.asarray(np.linalg.solve(features @ features.T, features @ outputs.T).T, dtype=np.float64)
        return self.rest(weight, bias if self.composite.has_bias else np.zeros(self.code_dim))

    def dual(self, features: FloatArray, rest: FloatArray) -> DualPoint:
        """Return minus the gradient in Z, moved to what the bias asks for."""
        k = self.composite
        weight, bias = self.parts(features, rest)
        candidate = k.dual_candidate(k.table.forward(weight @ features, _EMPTY, bias), bias)
        matrix, _, _ = k.pull(candidate.gradient)
        return DualPoint(matrix.T @ matrix, lambda share: k.dual_value(candidate, share))
