"""`Solution`: the global minimiser of a problem, with its evidence."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from encollapse import _checks
from encollapse._typing import FloatArray
from encollapse.errors import ArgumentError
from encollapse.geometry import ClassGeometry
from encollapse.ufm.certificate import Certificate
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
    left: FloatArray = field(repr=False)
    right: FloatArray = field(repr=False)

    def __repr__(self) -> str:
        return (
            f"Solution(loss={self.loss:.10g}, rank={self.rank}, {self.certificate}, "
            f"status={self.status.name}, seconds={self.seconds:.2g})"
        )

    @property
    def rank(self) -> int:
        """Number of directions that are learnt."""
        return int(np.count_nonzero(self.singular_values))

    @cached_property
    def geometry(self) -> ClassGeometry:
        """The predicted class geometry, which is unique.

        ``MᵀM = √(N λ_W/λ_H) diag(n)^{-1/2} |Z| diag(n)^{-1/2}`` and ``WWᵀ = √(N λ_H/λ_W) (ZZᵀ)^{1/2}``, theory §1.
        """
        p = self.problem
        weight, means = self._factors()
        return ClassGeometry(
            feature_gram=means.T @ means,
            counts=p.counts,
            classifier_gram=weight @ weight.T,
            class_outputs=weight @ means,
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

    def _factors(self) -> tuple[FloatArray, FloatArray]:
        """Classifier (q, r) and class means (r, K) in the basis of the singular directions."""
        p = self.problem
        root = np.sqrt(self.singular_values[: self.rank])
        balance = (p.num_samples * (p.feature_decay / p.weight_decay)) ** 0.25
        # (N λ_W/λ_H)^{1/4} diag(n)^{-1/2} = (N λ_H/λ_W)^{-1/4} diag(u)^{-1}, since n = N u².
        means = root[:, None] * self.right / np.sqrt(p.priors) / balance
        return balance * self.left * root, means

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
        """
        default = self.problem.feature_dim or len(self.singular_values)
        d = _checks.integer(default if feature_dim is None else feature_dim, "feature_dim", minimum=1)
        if d < self.rank:
            raise ArgumentError(
                f"feature_dim: the minimiser has rank {self.rank}, which {d} dimensions cannot hold"
            )
        generator = np.random.default_rng(_checks.integer(seed, "seed", minimum=0))
        rotation, _ = np.linalg.qr(generator.standard_normal((d, max(self.rank, 1))))
        rotation = rotation[:, : self.rank]
        weight, means = self._factors()
        return weight @ rotation.T, rotation @ means, self.bias.copy()
