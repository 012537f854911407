"""`Minimum`: what every method returns, and the units it is in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from encollapse._internal.typing import FloatArray
from encollapse.ufm.certificate import Certificate

GeometryFields = dict[str, Any]


class Factors(Protocol):
    """What a solution needs of its classifier ``W`` and class means ``M``."""

    @property
    def rank(self) -> int:
        """Number of directions that are learned."""

    @property
    def dimension(self) -> int:
        """Smallest feature dimension known to hold the class means: above the rank only under a sign constraint."""

    def singular_values(self) -> FloatArray:
        """Return all min(q, K) singular values of Z, descending."""

    def geometry_fields(self) -> GeometryFields:
        """Return `feature_gram`, `classifier_gram` and `class_outputs` of a ClassGeometry."""

    def parameters(self, feature_dim: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Return one pair (weight (q, d), class_means (d, K))."""


F = TypeVar("F", covariant=True)
G = TypeVar("G")


@dataclass(frozen=True, eq=False)
class Minimum(Generic[F]):
    """A minimizer with its evidence.

    Attributes
    ----------
    loss : float
        The value reached.
    bias : (q,)
        b.
    certificate : Certificate
        What is known about the distance to the minimum.
    iterations : int
        Steps taken.
    factors : Factors
        Classifier and class means. Within a method it may be the outputs ``Z`` instead, in the form that the method
        works with.
    unique : bool
        False where another geometry is known to be as good.
    warm_start : object, optional
        What the same method can start from for a similar problem.
    """

    loss: float
    bias: FloatArray
    certificate: Certificate
    iterations: int
    factors: F
    unique: bool = True
    warm_start: Any = None

    def in_units(self, scale: float, factors: G) -> Minimum[G]:
        """Return the minimum for labels that are `scale` times as large, with the `factors` for these labels.

        Methods solve for labels of about unit size. Loss, bound and penalties are squares of the labels, so this is the
        one place where a result is put back into the units of the problem.
        """
        return Minimum(
            loss=self.loss * scale**2,
            bias=self.bias * scale,
            certificate=self.certificate.in_units(scale**2),
            iterations=self.iterations,
            factors=factors,
            unique=self.unique,
            warm_start=self.warm_start,
        )
