"""`Solution`: the global minimizer of a problem, with its evidence."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from encollapse._internal import checks
from encollapse._internal.shown import Shown
from encollapse._internal.typing import FloatArray
from encollapse.geometry import ClassGeometry
from encollapse.ufm.certificate import Certificate
from encollapse.ufm.deep.layers import split
from encollapse.ufm.minimum import Factors, Minimum
from encollapse.ufm.problem import Problem


class Status(enum.Enum):
    """How a solve ended. The value is the message for the user.

    Examples
    --------
    >>> import encollapse as ec
    >>> strong = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=1.0, feature_decay=1.0)
    >>> status = ec.ufm.solve(strong).status
    >>> status.name, status.success
    ('COLLAPSED', True)
    """

    OPTIMAL = "Solved: the certificate proves the global minimum."
    COLLAPSED = (
        "Solved: the decays price outputs above all that they save of the loss, so nothing is learned and all class "
        "means are zero. Lower weight_decay, or the decay that prices the features (feature_decay, or in a tail that "
        "of its layers), to learn."
    )
    NOT_CERTIFIED = (
        "The duality gap stayed above its tolerance, so the result is not proved. The labels or the "
        "regularization span too many orders of magnitude; rescale them and solve again."
    )
    RANK_BINDS = (
        "feature_dim is below the rank of the minimizer, and for this loss rank-limited problems are not solved. Raise "
        "feature_dim; the loss given is that of wide features, a lower bound."
    )
    STATIONARY = (
        "Solved to a stationary point, the lowest of several starts; this problem is not convex, and the point is not "
        "proved to be the global minimum. certificate.gap says how far below the minimum could lie."
    )
    NOT_STATIONARY = (
        "The minimizer stopped where first-order conditions do not hold yet, so the result is not a solution. The "
        "labels or the regularization span too many orders of magnitude, or the problem is too large for it; rescale "
        "the one, or make the other smaller."
    )

    @property
    def message(self) -> str:
        """What happened, and what to try."""
        return str(self.value)

    @property
    def success(self) -> bool:
        """Whether the solve did all that it can: a proved global minimum, or a stationary point with that status."""
        return self in (Status.OPTIMAL, Status.COLLAPSED, Status.STATIONARY)


@dataclass(frozen=True, eq=False)
class Solution(Shown):
    """The minimizer, up to the rotation of the feature space that the objective leaves free.

    It is the global one unless the certificate is of kind ``stationary``.

    Attributes
    ----------
    problem : Problem
        What was solved.
    loss : float
        The minimum of the objective.
    bias : (q,)
        The optimal bias, zeros without one.
    certificate : Certificate
        The evidence, and its kind.
    status : Status
        How the solve ended. ``status.message`` says what to do.
    iterations : int
        Steps of the minimizer, over all starts.
    unique : bool
        False where another geometry is known to reach the same loss (equal singular values of which a limited
        `feature_dim` holds only some, say): then this is one of them.
    seconds : float
        Wall time of the solve.
    factors : Factors
        Classifier and class means in the form in which they were found. :attr:`geometry` and :meth:`parameters` read
        them.
    warm_start : object, optional
        What a solve of a similar problem can start from, under another loss than MSE.

    Examples
    --------
    >>> import encollapse as ec
    >>> decays = dict(weight_decay=5e-3, feature_decay=2e-3, bias_decay=1.0)
    >>> solution = ec.ufm.solve(ec.ufm.Problem(ec.encodings.one_hot(4), 5, **decays))
    >>> round(solution.loss, 9), solution.rank, solution.status.name
    (0.027784271, 4, 'OPTIMAL')
    >>> solution.singular_values.round(6)
    array([0.485858, 0.485858, 0.485858, 0.471716])
    >>> round(solution.geometry.cosine(0, 1), 6)
    -0.00733
    """

    problem: Problem
    loss: float
    bias: FloatArray
    certificate: Certificate
    status: Status
    iterations: int
    seconds: float
    factors: Factors = field(repr=False)
    unique: bool = True
    warm_start: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, problem: Any, minimum: Minimum[Factors], seconds: float) -> Self:
        """Add to a minimum what its evidence amounts to: the status."""
        certificate, rank = minimum.certificate, minimum.factors.rank
        status = Status.OPTIMAL if rank else Status.COLLAPSED
        if certificate.kind == "stationary":
            status = Status.STATIONARY if certificate.holds else Status.NOT_STATIONARY
        elif not certificate.holds:
            status = Status.NOT_CERTIFIED
        if problem.feature_dim is not None and problem.feature_dim < rank:
            status = Status.RANK_BINDS
            certificate = replace(certificate, kind="none", holds=False)
        values = {**vars(minimum), "certificate": certificate, "bias": checks.read_only(minimum.bias)}
        return cls(problem=problem, status=status, seconds=seconds, **values)

    def __repr__(self) -> str:
        return (
            f"Solution(loss={self.loss:.10g}, rank={self.rank}, {self.certificate}, "
            f"status={self.status.name}, seconds={self.seconds:.2g})"
        )

    @property
    def rank(self) -> int:
        """Number of directions that are learned: with linear features the smallest dimension that holds the minimizer.

        Class means without negative entries can need more dimensions than their rank.
        """
        return self.factors.rank

    @cached_property
    def singular_values(self) -> FloatArray:
        """Singular values of ``Z = W M diag(u)``, (min(q, K),), descending, 0 for directions that are not learned."""
        return np.asarray(checks.read_only(self.factors.singular_values()))

    @cached_property
    def geometry(self) -> ClassGeometry:
        """The predicted class geometry. ``classifier_gram`` is that of all weight layers multiplied.

        With one weight layer and linear features it is ``MᵀM = √(N λ_W/λ_H) diag(n)^{-1/2} |Z| diag(n)^{-1/2}`` and
        ``WWᵀ = √(N λ_H/λ_W) (ZZᵀ)^{1/2}``.
        """
        p = self.problem
        return ClassGeometry(
            **self._geometry_fields(),
            counts=p.counts,
            provenance={
                "source": "predicted",
                "encoding": p.encoding.name,
                **p.settings,
                "certificate": self.certificate.kind,
            },
        )

    def _geometry_fields(self) -> dict[str, Any]:
        """What the geometry holds beside counts and provenance."""
        return {**self.factors.geometry_fields(), "bias": self.bias}

    def parameters(self, feature_dim: int | None = None, seed: int = 0) -> tuple[FloatArray, FloatArray, FloatArray]:
        """One minimizer out of the family: a random rotation of the feature space picks it.

        Parameters
        ----------
        feature_dim : int, optional
            Dimension d of the features. Default: that of the problem, else ``min(q, K)``, or what the
            class means need if that is larger.
        seed : int
            Seed of the rotation. (Features without negative entries are not rotated, only padded.)

        Returns
        -------
        weight (q, d), class_means (d, K), bias (q,)
            With several weight layers, `weight` is their product. See :meth:`layers`.

        Raises
        ------
        ArgumentError
            If `feature_dim` is below what is known to hold the solution: its rank, or with non-negative features the
            number of dimensions in which they were found.
        MemoryLimitError
            If the dense parameters would exceed the memory limit.

        Examples
        --------
        >>> import encollapse as ec
        >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=2e-3)
        >>> weight, class_means, bias = ec.ufm.solve(problem).parameters(feature_dim=7)
        >>> weight.shape, class_means.shape, bias.shape
        ((4, 7), (7, 4), (4,))
        """
        p = self.problem
        default = p.feature_dim or max(min(p.code_dim, p.num_classes), self.factors.dimension)
        weight, means = self.factors.parameters(default if feature_dim is None else feature_dim, seed)
        return weight, means, self.bias.copy()

    def layers(self, feature_dim: int | None = None, seed: int = 0) -> tuple[FloatArray, ...]:
        """Each weight layer ``(W_1, …, W_M)`` of the minimizer, in the order in which they act on the features.

        Parameters
        ----------
        feature_dim, seed
            As for :meth:`parameters`, whose `weight` is the product of the layers.

        Returns
        -------
        tuple of matrices
            All but the last are (feature_dim, feature_dim). They are balanced,
            ``λ_{l+1} W_{l+1}ᵀ W_{l+1} = λ_l W_l W_lᵀ``.

        Examples
        --------
        >>> import encollapse as ec
        >>> deep = ec.ufm.Problem(ec.encodings.ordinal(5), 7, weight_decay=5e-3, feature_decay=2e-5, depth=2)
        >>> [layer.shape for layer in ec.ufm.solve(deep).layers(feature_dim=7)]
        [(7, 7), (4, 7)]
        """
        weight, _, _ = self.parameters(feature_dim, seed)
        return split(weight, self.problem.weight_decays, seed)
