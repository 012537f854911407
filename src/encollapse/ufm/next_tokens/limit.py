"""Next-token prediction as the decay vanishes: a sparse part that stays finite, and a direction that grows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csc_array, issparse
from scipy.sparse.linalg import svds

from encollapse._internal import checks, memory
from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError, SolverError
from encollapse.ufm.certificate import Certificate
from encollapse.ufm.next_tokens.max_margin import Margins, least_nuclear_norm
from encollapse.ufm.next_tokens.supports import SupportGroups

_CHECKED = 4_000_000
"""Distinct tokens times distinct supports up to which one dense decomposition is taken: half a minute."""
_SOLVED = 20_000
"""The same up to which the direction is searched for, with some hundred decompositions: ten seconds."""


@dataclass(frozen=True, eq=False)
class Concepts:
    """Leading singular triplets of the weighted centered support matrix.

    Attributes
    ----------
    tokens : (V, r)
        Left singular vectors. Embeddings of the tokens are these times the root of `strengths`.
    strengths : (r,)
        Singular values, descending.
    contexts : (m, r)
        Right singular vectors, of contexts weighted by the root of their price.

    Examples
    --------
    >>> import encollapse as ec
    >>> concepts = ec.ufm.next_token_limit([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).concepts(2)
    >>> concepts.tokens.shape, concepts.contexts.shape
    ((4, 2), (4, 2))
    >>> abs(concepts.tokens[:, 0]).round(3)
    array([0.5, 0.5, 0.5, 0.5])
    """

    tokens: FloatArray
    strengths: FloatArray
    contexts: FloatArray


@dataclass(frozen=True, eq=False)
class GrowthDirection:
    """Logits of least nuclear norm with margins of 1, and the evidence for them. See :class:`NextTokenLimit`.

    Attributes
    ----------
    limit : NextTokenLimit
        What was asked.
    grouped_logits : (R, C)
        One row for every set of contexts that tokens have, one column for every support.
    nuclear_norm : float
        Nuclear norm of the logits, with each context weighted by the root of its price.
    certificate : Certificate
        A lower bound of that norm by duality. It holds at a relative gap of 1e-6.
    iterations : int
        Iterations that it took: 0 where the centered support matrix is the direction.

    Examples
    --------
    >>> import encollapse as ec
    >>> direction = ec.ufm.next_token_limit([[4, 0, 0, 1], [2, 3, 0, 0], [0, 1, 5, 0]]).direction()
    >>> direction.logits().round(3) + 0.0
    array([[ 0.333, -0.667, -0.333,  0.667],
           [ 0.333,  0.333, -0.333, -0.333],
           [-0.667,  0.333,  0.667, -0.333]])
    """

    limit: NextTokenLimit
    grouped_logits: FloatArray
    nuclear_norm: float
    certificate: Certificate
    iterations: int

    def logits(self) -> FloatArray:
        """The direction for all tokens and contexts, (V, m), with columns of mean 0.

        Raises
        ------
        MemoryLimitError
            If the dense matrix is above 2 GiB. `grouped_logits` holds the same numbers once each.
        """
        groups = self.limit.groups
        memory.require_room("logits", self.limit.num_tokens, self.limit.num_contexts, instead="read grouped_logits")
        return self.grouped_logits[groups.row_of[:, None], groups.column_of]

    def context_cosines(self) -> FloatArray:
        """Cosines of the embeddings of the distinct supports, (C, C).

        Contexts with one support have one direction. `limit.groups.column_of` says which support a context has.
        """
        _, singular, right = self._factors()
        return _cosines(right.T * np.sqrt(singular))

    def token_cosines(self) -> FloatArray:
        """Cosines of the embeddings of the distinct tokens, (R, R), in the order of `limit.groups.row_of`."""
        left, singular, _ = self._factors()
        return _cosines(left * np.sqrt(singular))

    def _factors(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        groups = self.limit.groups
        weighted = self.grouped_logits * groups.row_weights[:, None] * groups.column_weights
        return np.linalg.svd(weighted, full_matrices=False)


@dataclass(frozen=True, eq=False)
class NextTokenLimit:
    """Next-token prediction at vanishing decay. See :func:`next_token_limit`.

    Attributes
    ----------
    probabilities : sparse (V, m)
        Distribution of the next token after each context.
    priors : (m,)
        Share of each context in all samples.
    price : {"samples", "contexts"}
        What the decay of the features counts.
    groups : SupportGroups
        Tokens with the same contexts, and contexts with the same support.

    Examples
    --------
    >>> import encollapse as ec
    >>> limit = ec.ufm.next_token_limit([[6, 0, 1], [2, 3, 1], [0, 1, 2]])
    >>> round(limit.entropy, 4)
    0.6817
    >>> limit.finite_part.toarray().round(3) + 0.0
    array([[ 0.549,  0.   , -0.231],
           [-0.549,  0.549, -0.231],
           [ 0.   , -0.549,  0.462]])
    >>> print(limit.direction().certificate)
    global minimum, proved: relative duality gap ...
    """

    probabilities: csc_array
    priors: FloatArray
    price: str
    groups: SupportGroups

    @property
    def num_tokens(self) -> int:
        """V, the number of tokens."""
        return int(self.probabilities.shape[0])

    @property
    def num_contexts(self) -> int:
        """The number m of contexts."""
        return int(self.probabilities.shape[1])

    @cached_property
    def entropy(self) -> float:
        """Mean entropy of the distributions, in nats: the infimum of the cross-entropy, which no logits reach."""
        p = self.probabilities
        per_context = np.add.reduceat(-p.data * np.log(p.data), p.indptr[:-1])
        return float(self.priors @ per_context)

    @cached_property
    def finite_part(self) -> csc_array:
        """What the logits tend to within the supports, up to a constant for each context, sparse (V, m).

        Logarithms of the probabilities, less their mean over the support of the context.
        """
        p = self.probabilities
        logs, sizes = np.log(p.data), np.diff(p.indptr)
        means = np.add.reduceat(logs, p.indptr[:-1]) / sizes
        return csc_array((logs - np.repeat(means, sizes), p.indices, p.indptr), shape=p.shape)

    def concepts(self, rank: int, seed: int = 0) -> Concepts:
        """Leading singular triplets of the centered support matrix, in the memory of the sparse support.

        Where the centered support matrix is the direction of growth, embeddings tend to these directions
        :cite:p:`zhao2024`. Elsewhere they are an approximation, which `norm_bounds` judges.

        Parameters
        ----------
        rank : int
            How many, below the number of distinct tokens and supports.
        seed : int
            Seed of the first vector of the iteration. The result depends on it by rounding only.

        Returns
        -------
        Concepts
            Singular vectors of tokens and contexts with their strengths.
        """
        groups = self.groups
        most = min(groups.shape) - 1
        size = checks.integer(rank, "rank", minimum=1, maximum=most, why=f"{groups.shape} groups have no more")
        start = np.random.default_rng(checks.integer(seed, "seed", minimum=0)).standard_normal(min(groups.shape))
        left, strengths, right = svds(groups.operator(), k=size, v0=start)
        order = np.argsort(-strengths)
        weights = self._context_weights / groups.column_weights[groups.column_of]
        return Concepts(
            tokens=(left / groups.row_weights[:, None])[groups.row_of][:, order],
            strengths=strengths[order],
            contexts=(right.T[groups.column_of] * weights[:, None])[:, order],
        )

    def norm_bounds(self, concepts: Concepts) -> tuple[float, float]:
        """Bounds of the nuclear norm of the direction of growth, from below and above, at any size.

        The centered support matrix has all margins, so its nuclear norm is an upper bound. Divided by its largest
        singular value it is feasible for the dual, as is each matrix with other weights of the support. The better of
        two gives the lower one.

        Parameters
        ----------
        concepts : Concepts
            The more there are, the tighter is the upper bound.

        Returns
        -------
        tuple of float
            Lower and upper bound.
        """
        known, square = concepts.strengths, self.groups.squared_norm
        rest, others = max(square - float(known @ known), 0.0), min(self.groups.shape) - len(known)
        lower = max(square / float(known[0]), self.groups.dual_bound())
        return lower, float(known.sum()) + math.sqrt(others * rest)

    def direction(self, *, throw: bool = True) -> GrowthDirection:
        """Solve for the direction in which logits grow, with a certificate.

        Parameters
        ----------
        throw : bool
            Raise if the certificate does not hold. Otherwise hand the object back as it is.

        Returns
        -------
        GrowthDirection
            The centered support matrix where that is optimal, otherwise what Douglas-Rachford splitting finds.

        Raises
        ------
        ArgumentError
            If distinct tokens times distinct supports exceed 4 million. `concepts` and `norm_bounds` do without.
        SolverError
            If `throw` is set and the result is not proved. Above 20,000 the centered support matrix is only checked.
        """
        checks.flag(throw, "throw")
        groups = self.groups
        size = math.prod(groups.shape)
        if size > _CHECKED:
            raise ArgumentError(
                f"frequencies: {groups.shape[0]} distinct tokens times {groups.shape[1]} distinct supports are more "
                f"than the {_CHECKED} that one dense decomposition may take; call concepts and norm_bounds"
            )
        margins = Margins(groups.pattern.toarray() > 0, groups.row_weights, groups.column_weights)
        limit = {} if size <= _SOLVED else {"iterations": 0}
        matrix, certificate, iterations = least_nuclear_norm(margins, groups.dense(), **limit)
        if throw and not certificate.holds:
            raise SolverError(
                f"The direction is not proved: the centered support matrix of {groups.shape[0]} distinct tokens and "
                f"{groups.shape[1]} distinct supports has a relative gap of {certificate.relative_gap:.1e}, and "
                f"above {_SOLVED} entries no better one is searched for; throw=False returns it"
            )
        return GrowthDirection(
            limit=self,
            grouped_logits=matrix / groups.row_weights[:, None] / groups.column_weights,
            nuclear_norm=certificate.lower_bound + certificate.gap,
            certificate=certificate,
            iterations=iterations,
        )

    @property
    def _context_weights(self) -> FloatArray:
        return _context_weights(self.priors, self.price)


def next_token_limit(frequencies: Any, *, price: str = "samples") -> NextTokenLimit:
    """Describe what next-token prediction tends to as the decay vanishes, from a sparse matrix of frequencies.

    With free features, cross-entropy and decay ``λ`` on both, logits tend to ``L_in + log(1/λ) L_mm`` up to smaller
    terms :cite:p:`zhao2024`. ``L_in`` is sparse: the logarithms of the probabilities within the support of each
    context. ``L_mm`` has the least nuclear norm among all logits that are equal within the support of a context and
    lower by at least 1 outside, so it depends on the supports alone. Contexts with one support share their column.
    Without a bias, and for features with room for the rank.

    Parameters
    ----------
    frequencies : scipy sparse matrix or array (V, m)
        How often each of V tokens follows each of m contexts, or the joint probabilities. Every context has a token.
    price : {"samples", "contexts"}
        Whether the decay of features counts each sample, as in :class:`Problem`, or each context once, as in the paper.
        They differ where contexts are not equally frequent.

    Returns
    -------
    NextTokenLimit
        Entropy, finite part and distinct supports at once. Its methods give the direction of growth with a
        certificate, or leading directions and bounds where there are too many tokens and contexts for that.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If the frequencies are no finite numbers from 0, or a context has no token. The text names it.

    Examples
    --------
    Three tokens in the supports of three pairs are symmetric, so the centered support matrix is the direction:

    >>> import encollapse as ec
    >>> limit = ec.ufm.next_token_limit([[3, 1, 0], [1, 0, 4], [0, 2, 2]], price="contexts")
    >>> direction = limit.direction()
    >>> direction.logits().round(3)
    array([[ 0.333,  0.333, -0.667],
           [ 0.333, -0.667,  0.333],
           [-0.667,  0.333,  0.333]])
    >>> direction.iterations, direction.certificate.holds
    (0, True)
    """
    which = checks.choice(price, "price", ("samples", "contexts"))
    matrix = _checked(frequencies)
    totals = np.asarray(matrix.sum(axis=0)).ravel()
    empty = np.flatnonzero(totals == 0)
    if empty.size:
        raise ArgumentError(
            f"frequencies: context {int(empty[0])} has no token (column of zeros); leave out contexts that do not occur"
        )
    probabilities = csc_array(
        (matrix.data / np.repeat(totals, np.diff(matrix.indptr)), matrix.indices, matrix.indptr), shape=matrix.shape
    )
    priors = checks.read_only(totals / totals.sum())
    groups = SupportGroups.of(probabilities, _context_weights(priors, which))
    return NextTokenLimit(probabilities, priors, which, groups)


def _context_weights(priors: FloatArray, price: str) -> FloatArray:
    return np.sqrt(priors) if price == "samples" else np.full(len(priors), 1.0 / math.sqrt(len(priors)))


def _checked(frequencies: Any) -> csc_array:
    """The frequencies as a matrix of sorted columns without stored zeros."""
    if issparse(frequencies):
        matrix = csc_array(frequencies, dtype=np.float64, copy=True)
    else:
        matrix = csc_array(checks.array(frequencies, "frequencies", (None, None), axes="(tokens, contexts)"))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    values = matrix.data
    bad = np.flatnonzero(~np.isfinite(values) | (values < 0))
    if bad.size:
        raise ArgumentError(f"frequencies: expected finite numbers from 0, got {values[bad[0]]}")
    if matrix.shape[0] < 2 or matrix.shape[1] < 1:
        raise ArgumentError(f"frequencies: expected at least 2 tokens and 1 context, got shape {matrix.shape}")
    return matrix


def _cosines(rows: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(rows, axis=1)
    scaled = rows / np.where(lengths > 0, lengths, 1.0)[:, None]
    return np.asarray(scaled @ scaled.T)
