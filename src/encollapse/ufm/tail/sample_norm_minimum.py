"""The minimizer behind a last normalization of each sample: in closed form where that is proved, else by descent."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.ufm.certificate import Certificate, certify
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.mse.factors import DenseFactors
from encollapse.ufm.solution import Solution
from encollapse.ufm.structured.by_count import affine_form
from encollapse.ufm.tail.frames import centered_frame
from encollapse.ufm.tail.gains import descend
from encollapse.ufm.tail.sample_norm import SampleNormProblem
from encollapse.ufm.tail.three_factors import BalancedLabels, Levels, convex_bound, separable_bound

_GAP = 1e-9  # relative gap up to which the minimum counts as proved


def solve_sample_norm(problem: SampleNormProblem) -> Solution:
    """Minimize in closed form where that is proved, else by descent from several starts.

    The geometry is that of the features after the normalization. Within a class they agree.
    """
    begin = time.perf_counter()
    minimum = _closed_form(problem) or _descended(problem)
    return Solution.of(problem, minimum, time.perf_counter() - begin)


def _balanced(problem: SampleNormProblem) -> BalancedLabels | None:
    """The two numbers that balanced affine one-hot labels come down to under MSE."""
    form = affine_form(problem.encoding)
    if problem.loss != "mse" or form is None or (problem.counts != problem.counts[0]).any():
        return None
    mean = float(np.linalg.norm(problem.encoding.codewords.mean(axis=1)))
    return BalancedLabels(abs(form[0]) / math.sqrt(problem.num_classes), mean, problem.num_classes, problem.mean_share)


def _closed_form(problem: SampleNormProblem) -> Minimum[DenseFactors] | None:
    """Return the minimizer among outputs aligned with the labels, or None where none is known to be reached.

    It is the global one where the lower bound meets it. That fails where no gain serves the mean but an offset:
    then the point is stationary, and the bound says how much lower the minimum could lie.
    """
    labels = _balanced(problem)
    if labels is None or not labels.ordered:
        return None
    root, kappa, budget = problem.threshold(1.0), problem.offset_share, problem.budget
    levels = labels.best(root, budget, kappa, problem.feature_dim)
    if problem.kind == "layer" and not _layer_norm_attains(levels, problem):
        return None
    frame = centered_frame(levels.rank, problem.num_classes)
    if frame is None:
        return None
    loss = labels.value(levels, root, budget, kappa)
    certificate = certify(loss, min(_lower_bound(problem, labels), loss))
    certificate = replace(certificate, kind="theorem") if certificate.holds else certificate.or_stationary(True)
    return _assembled(problem, labels, levels, frame, loss, certificate)


def _lower_bound(problem: SampleNormProblem, labels: BalancedLabels) -> float:
    """The larger of two bounds for labels that are :attr:`BalancedLabels.ordered`.

    One takes κ as if every direction could draw on it. The other shrinks the mean of the outputs by ``√β`` before it
    applies the inequality of three factors: κ then counts β times, but the mean costs what a contrast costs.
    """
    root, kappa, budget, d = problem.threshold(1.0), problem.offset_share, problem.budget, problem.feature_dim
    beta = labels.share
    wide = budget + kappa if beta > 0 else budget
    first = labels.value(labels.best(root, wide, 0.0, d), root, wide)
    shrunk = replace(labels, mean=math.sqrt(beta) * labels.mean, share=1.0)
    wide = budget + beta * kappa
    return max(first, shrunk.value(shrunk.best(root, wide, 0.0, d), root, wide))


def _layer_norm_attains(levels: Levels, problem: SampleNormProblem) -> bool:
    """Equal gains on all d = K entries hold a simplex, and one gain holds a line. No other case is known."""
    if levels.mean > 0:
        return False
    return levels.rank in {0, 1} or (levels.rank == problem.num_classes - 1 == problem.feature_dim - 1)


def _assembled(
    problem: SampleNormProblem,
    labels: BalancedLabels,
    levels: Levels,
    frame: FloatArray,
    loss: float,
    certificate: Certificate,
) -> Minimum[DenseFactors]:
    """Head and class means of the minimizer: every coordinate balances head against gain."""
    k = problem.num_classes
    weighted = problem.encoding.codewords / math.sqrt(k)
    mean_label = problem.encoding.codewords.mean(axis=1)
    singular, right = np.full(levels.rank, levels.contrast), frame
    left = (weighted @ frame.T) / labels.contrast
    squares = labels.squares(levels, problem.budget, problem.offset_share)
    if levels.mean > 0:
        singular = np.append(singular, levels.mean)
        right = np.vstack([frame, np.full(k, 1.0 / math.sqrt(k))])
        left = np.column_stack([left, mean_label / labels.mean])
    head = np.sqrt(math.sqrt(problem.gain_decay / problem.weight_decay) * singular / np.sqrt(squares))
    values = np.zeros(min(problem.code_dim, k))
    values[: len(singular)] = np.sort(singular)[::-1]
    means = (singular / head)[:, None] * right * math.sqrt(k)
    bias = np.zeros(problem.code_dim)
    if not math.isinf(problem.bias_decay):
        bias = (mean_label - (left * head) @ means.mean(axis=1)) / (1.0 + problem.bias_decay)
    return Minimum(
        loss=loss,
        bias=bias,
        certificate=certificate,
        iterations=0,
        factors=DenseFactors(left * head, means, values, rotatable=False),
        unique=levels.rank in {0, k - 1},
    )


def _descended(problem: SampleNormProblem) -> Minimum[DenseFactors]:
    """The lowest stationary point of several starts, with a lower bound."""
    found = descend(problem)
    budget = problem.budget + problem.offset_share
    if problem.convex_loss is None:
        bound = separable_bound(problem, problem.threshold(budget))
        labels = _balanced(problem)
        if labels is not None and labels.ordered:
            bound = max(bound, _lower_bound(problem, labels))
    else:
        bound = convex_bound(problem, problem.threshold(budget))
    certificate = certify(found.loss, min(bound, found.loss), tolerance=_GAP).or_stationary(found.at_rest)
    outputs = found.weight @ found.means * np.sqrt(problem.priors)
    singular = np.asarray(np.linalg.svd(outputs, compute_uv=False), dtype=np.float64)
    return Minimum(
        loss=found.loss,
        bias=found.bias,
        certificate=certificate,
        iterations=found.iterations,
        factors=DenseFactors(found.weight, found.means, singular, rotatable=False),
    )
