"""`Solution`: the global minimiser of a problem, with its evidence."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from functools import cached_property

from encollapse._typing import FloatArray
from encollapse.geometry import ClassGeometry
from encollapse.ufm.certificate import Certificate
from encollapse.ufm.factors import Factors
from encollapse.ufm.problem import Problem


class Status(enum.Enum):
    """How a solve ended. The value is the message for the user."""

    OPTIMAL = "Solved: the certificate proves the global minimum."
    COLLAPSED = (
        "Solved: the threshold c = √(N λ_W λ_H) is above every singular value, so nothing is learnt and all class "
        "means are zero. Lower weight_decay or feature_decay to learn."
    )
    NOT_CERTIFIED = (
        "The duality gap stayed above its tolerance, so the result is not proved. The labels or the "
        "regularisation span too many orders of magnitude; rescale them and solve again."
    )
    RANK_BINDS = (
        "feature_dim is below the rank of the minimiser, and this release does not solve rank-limited "
        "problems. Raise feature_dim; the loss given is that of wide features, a lower bound."
    )

    @property
    def message(self) -> str:
        """What happened, and what to try."""
        return str(self.value)

    @property
    def success(self) -> bool:
        """Whether the solution is the proved global minimiser."""
        return self in (Status.OPTIMAL, Status.COLLAPSED)


@dataclass(frozen=True, eq=False)
class Solution:
    """The global minimiser, up to the rotation of the feature space that the objective leaves free.

    Attributes
    ----------
    problem : Problem
        What was solved.
    loss : float
        The minimum of the objective.
    bias : (q,)
        The optimal bias; zeros without one.
    singular_values : (min(q, K),)
        Singular values of ``Z = W M diag(u)``, descending; 0 for directions that are not learnt.
    certificate : Certificate
        The evidence, and its kind.
    status : Status
        How the solve ended; ``status.message`` says what to do.
    iterations : int
        Newton steps taken.
    seconds : float
        Wall time of the solve.
    """

    problem: Problem
    loss: float
    bias: FloatArray
    singular_values: FloatArray
    certificate: Certificate
    status: Status
    iterations: int
    seconds: float
    factors: Factors = field(repr=False)

    def __repr__(self) -> str:
        return (
            f"Solution(loss={self.loss:.10g}, rank={self.rank}, {self.certificate}, "
            f"status={self.status.name}, seconds={self.seconds:.2g})"
        )

    @property
    def rank(self) -> int:
        """Number of directions that are learnt: the smallest feature dimension that holds the minimiser."""
        return self.factors.rank

    @cached_property
    def geometry(self) -> ClassGeometry:
        """The predicted class geometry, which is unique.

        ``MᵀM = √(N λ_W/λ_H) diag(n)^{-1/2} |Z| diag(n)^{-1/2}`` and ``WWᵀ = √(N λ_H/λ_W) (ZZᵀ)^{1/2}``, theory §1.
        """
        p = self.problem
        return ClassGeometry(
            **self.factors.geometry_fields(),
            counts=p.counts,
            bias=self.bias,
            provenance={
                "source": "predicted",
                "encoding": p.encoding.name,
                "weight_decay": p.weight_decay,
                "feature_decay": p.feature_decay,
                "bias_decay": p.bias_decay,
                "certificate": self.certificate.kind,
            },
        )

    def parameters(
        self, feature_dim: int | None = None, seed: int = 0
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """One minimiser out of the family: a random rotation of the feature space picks it.

        Parameters
        ----------
        feature_dim : int, optional
            Dimension d of the features; default that of the problem, else ``min(q, K)``.
        seed : int
            Seed of the rotation.

        Returns
        -------
        weight (q, d), class_means (d, K), bias (q,)

        Raises
        ------
        ArgumentError
            If `feature_dim` is below the rank of the solution.
        MemoryLimitError
            If the dense parameters would exceed the memory limit.
        """
        default = self.problem.feature_dim or len(self.singular_values)
        weight, means = self.factors.parameters(default if feature_dim is None else feature_dim, seed)
        return weight, means, self.bias.copy()
