"""The deep unrestricted feature model with a ReLU between its layers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.encodings.registry import of_counts
from encollapse.errors import ArgumentError
from encollapse.ufm.certificate import certify
from encollapse.ufm.deep.schatten_prox import SchattenProx, common_decay
from encollapse.ufm.label_structure import LabeledProblem, LabelStructure, checked_encoding, layer_decays, refuse_range
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.nonconvex.relu_layers import STATIONARY_TOLERANCE, ReluLayers
from encollapse.ufm.relu.factors import NonnegativeFactors
from encollapse.ufm.solution import Solution

_WHY_POSITIVE = "at 0 the features or the layers grow without bound and there is no minimizer"
_MOST_LAYERS = 50  # a descent through more moves nothing
_LIVE = 1e-4  # share of the largest from which the length of a hidden unit, or a singular value of a layer, counts


@dataclass(frozen=True, eq=False, repr=False)
class DeepReluProblem(LabeledProblem):
    """Layers with a ReLU between them. See :func:`deep_relu_problem`.

    Attributes
    ----------
    encoding, counts, feature_decay, feature_dim
        As in :class:`Problem`. Every hidden layer has `feature_dim` units.
    weight_decays : tuple of float
        One for each layer, in the order in which they act on the features.
    structure : LabelStructure
        What encoding and counts determine.
    """

    encoding: Encoding
    counts: IntArray
    weight_decays: tuple[float, ...]
    feature_decay: float
    feature_dim: int
    structure: LabelStructure

    def __repr__(self) -> str:
        return (
            f"DeepReluProblem({self.encoding!r}, weight_decays={self.weight_decays}, "
            f"feature_decay={self.feature_decay:g}, feature_dim={self.feature_dim})"
        )

    @property
    def depth(self) -> int:
        """Number of weight layers."""
        return len(self.weight_decays)

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values for the provenance of a geometry."""
        return {
            "weight_decays": list(self.weight_decays),
            "feature_decay": self.feature_decay,
            "features": "relu layers",
        }

    @property
    def threshold(self) -> float:
        """Length of a weighted label, ``√π_k |e_k|``, up to which an axis of its own does not pay."""
        return SchattenProx.of_decays(self.num_samples, self.feature_decay, self.weight_decays).threshold

    def deep_collapse_loss(self) -> float:
        """Loss of deep neural collapse, in which every hidden layer gives each class an axis of its own.

        ``Σ_k min_s ½(s - √π_k |e_k|)² + κ s^{2/p}`` with ``p = depth + 1``. It takes a `feature_dim` of at least K.

        Returns
        -------
        float
            An upper bound of the minimum, which it equals for two balanced classes :cite:p:`sukenik2023`.

        Examples
        --------
        >>> import encollapse as ec
        >>> problem = ec.ufm.deep_relu_problem(ec.encodings.one_hot(2), 5, weight_decay=5e-3, feature_decay=1e-3)
        >>> bool(abs(problem.deep_collapse_loss() / ec.ufm.solve(problem).loss - 1) < 1e-12)
        True
        """
        if self.feature_dim < self.num_classes:
            raise ArgumentError(
                f"feature_dim: an axis for each class takes feature_dim={self.num_classes} or more, "
                f"got {self.feature_dim}"
            )
        prox = SchattenProx.of_decays(self.num_samples, self.feature_decay, self.weight_decays)
        return float(prox.value(np.linalg.norm(self.encoding.codewords, axis=0) * np.sqrt(self.priors)).sum())


def deep_relu_problem(
    encoding: Encoding | str,
    counts: int | ArrayLike,
    *,
    weight_decay: float | Sequence[float],
    feature_decay: float,
    depth: int = 2,
    feature_dim: int | None = None,
) -> DeepReluProblem:
    """Return the deep unrestricted feature model with a ReLU between its layers.

    Minimize over the layers and the features ``H``, without biases,

        ``1/(2N) |W_L σ(W_{L-1} ··· σ(W_1 H)) - Y|² + Σ_l λ_l/2 |W_l|² + λ_H/2 |H|²``

    where Y holds the codeword of each sample :cite:p:`sukenik2023`. For two balanced classes deep neural collapse is
    the minimum. For more classes and three layers or more there are solutions of lower rank and lower loss
    :cite:p:`sukenik2024`. :func:`solve` returns the lowest of several descents with a lower bound: its
    ``certificate.kind`` is ``"stationary"`` outside the cases that are proved.

    Parameters
    ----------
    encoding : Encoding or str
        One codeword for each class.
    counts : int or (K,) ints
        Samples of each class.
    weight_decay : float or sequence of floats
        ``λ_l``, above 0. One number serves every layer, or one is given for each.
    feature_decay : float
        ``λ_H``, above 0.
    depth : int
        Number of weight layers L, from 2 to 50.
    feature_dim : int, optional
        Dimension of the features and units of every hidden layer. Default: the larger of q and K.

    Returns
    -------
    DeepReluProblem
        What :func:`solve` takes.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If a value is out of range or has the wrong type. The text names it.

    Examples
    --------
    >>> import encollapse as ec
    >>> decays = dict(weight_decay=5e-3, feature_decay=1e-3)
    >>> problem = ec.ufm.deep_relu_problem(ec.encodings.one_hot(3), 7, depth=2, **decays)
    >>> solution = ec.ufm.solve(problem)
    >>> solution.status.name, bool(solution.loss <= problem.deep_collapse_loss())
    ('STATIONARY', True)
    """
    encoding = checked_encoding(of_counts(encoding, counts))
    classes = checks.read_only(checks.class_counts(counts, encoding.num_classes))
    layers = checks.integer(depth, "depth", minimum=2, maximum=_MOST_LAYERS, why="one layer has no ReLU: use Problem")
    expected = f"one number, or {layers} for depth={layers}"
    decays = layer_decays(weight_decay, "weight_decay", layers, expected, why=_WHY_POSITIVE)
    features = checks.positive(feature_decay, "feature_decay", why=_WHY_POSITIVE)
    named = {f"weight_decay[{i}]": value for i, value in enumerate(decays)}
    refuse_range({**named, "feature_decay": features, "encoding": encoding.largest_entry})
    width = max(encoding.code_dim, encoding.num_classes)
    return DeepReluProblem(
        encoding=encoding,
        counts=classes,
        weight_decays=decays,
        feature_decay=features,
        feature_dim=width if feature_dim is None else checks.integer(feature_dim, "feature_dim", minimum=1),
        structure=LabelStructure(encoding, classes),
    )


@dataclass(frozen=True, eq=False, repr=False)
class DeepReluSolution(Solution):
    """Solution of a deep problem with ReLUs: its geometry is that of the last hidden layer, after its ReLU.

    Attributes
    ----------
    weights : tuple of arrays
        ``W_1, …, W_L``.
    inputs : (d, K)
        The features, which the first layer acts on.
    """

    problem: Any
    weights: tuple[FloatArray, ...] = field(default=(), repr=False)
    inputs: FloatArray = field(default_factory=lambda: np.zeros((0, 0)), repr=False)

    def layers(self, feature_dim: int | None = None, seed: int = 0) -> tuple[FloatArray, ...]:
        """Return each weight layer, ``(W_1, …, W_L)``, as it was found. `inputs` are the features that go in."""
        del seed
        if feature_dim not in (None, self.problem.feature_dim):
            raise ArgumentError("feature_dim: with ReLUs the layers are as wide as in the problem; solve another one")
        return tuple(weight.copy() for weight in self.weights)

    @property
    def layer_ranks(self) -> tuple[int, ...]:
        """Rank of the pre-activations of each hidden layer, ``W_l σ(···)`` for l below L."""
        ranks, features = [], self.inputs * np.sqrt(self.problem.counts)
        for weight in self.weights[:-1]:
            values = np.linalg.svd(weight @ features, compute_uv=False)
            ranks.append(int(np.count_nonzero(values > _LIVE * max(values[0], 1e-300))))
            features = np.maximum(weight @ features, 0.0)
        return tuple(ranks)

    def _geometry_fields(self) -> dict[str, Any]:
        return self.factors.geometry_fields()


def solve_deep_relu(problem: DeepReluProblem) -> DeepReluSolution:
    """Return the lowest of several descents, or deep neural collapse where that is proved to be the minimum."""
    begin = time.perf_counter()
    roots = np.sqrt(problem.priors)
    labels = problem.encoding.codewords * roots
    # A matrix of zeros has any scale.
    scale = float(np.linalg.norm(labels, 2)) or 1.0
    power = problem.depth + 1
    decay = common_decay(problem.num_samples, problem.feature_decay, problem.weight_decays)
    model = ReluLayers(labels / scale, problem.depth, decay * scale ** (2.0 / power - 2.0), problem.feature_dim)
    if _collapse_is_proved(problem):
        factors, steps = model.frame(), 0
        loss = model.value(factors)
        certificate = replace(certify(loss, loss), kind="theorem")
    else:
        factors, loss, steps = model.lowest()
        at_rest = model.residual(factors) <= STATIONARY_TOLERANCE
        certificate = certify(loss, min(model.lower_bound(), loss)).or_stationary(at_rest)
    # From one decay on all factors to the decays of the problem, and from unit labels to its own.
    root = scale ** (1.0 / power)
    weights = tuple(f * root * np.sqrt(decay / own) for f, own in zip(factors[1:], problem.weight_decays, strict=True))
    inputs = factors[0] * root * np.sqrt(decay / (problem.num_samples * problem.feature_decay)) / roots
    features = inputs * roots
    for weight in weights[:-1]:
        features = np.maximum(weight @ features, 0.0)
    lengths = np.linalg.norm(features, axis=1)
    live = lengths > _LIVE * lengths.max(initial=0.0) if lengths.any() else lengths > 0
    found = Minimum(
        loss=loss * scale**2,
        bias=np.zeros(problem.code_dim),
        certificate=certificate.in_units(scale**2),
        iterations=steps,
        factors=NonnegativeFactors.of(weights[-1][:, live], features[live], roots),
    )
    solution = DeepReluSolution.of(problem, found, time.perf_counter() - begin)
    return replace(solution, weights=tuple(map(checks.read_only, weights)), inputs=checks.read_only(inputs))


def _collapse_is_proved(problem: DeepReluProblem) -> bool:
    """Two balanced classes with orthogonal codewords of one length, and room for them :cite:p:`sukenik2023`."""
    if problem.num_classes != 2 or problem.feature_dim < 2 or problem.counts[0] != problem.counts[1]:
        return False
    gram = problem.encoding.codewords.T @ problem.encoding.codewords
    level = 1e-14 * gram[0, 0]
    return bool(gram[0, 0] > 0 and abs(gram[0, 1]) <= level and abs(gram[1, 1] - gram[0, 0]) <= level)
