"""Samples about their class means, so that NC1 is seen: the features of a linear tail over activations that differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from encollapse import ufm
from encollapse._internal.typing import FloatArray
from encollapse.explorer.state.fields import FieldError
from encollapse.explorer.state.problem import problem, refusals
from encollapse.explorer.state.state import State

_MOST_CLASSES, _MOST_SAMPLES = 12, 2000
"""What is solved while a slider moves: about 50 ms."""

_DRAWN = 40  # samples of a class in the picture


@dataclass(frozen=True)
class Cloud:
    """A linear tail, solved.

    Attributes
    ----------
    weight, means, samples : (q, r), (r, K), (n, r)
        Head, class means, and the features of a few samples of each class.
    labels : (n,)
        Classes of these samples.
    nc1 : float
        ``tr Σ_W / tr Σ_B`` of all samples.
    """

    weight: FloatArray
    means: FloatArray
    samples: FloatArray
    labels: list[int]
    nc1: float


def cloud(state: State) -> Cloud | None:
    """Solve the linear tail of a state, or None where its samples do not differ.

    The activation of a sample is the unit vector of its class plus normal noise of the size `spread` in three times as
    many directions as there are classes, over the root of the count of its class. At a spread of zero the tail is the
    unrestricted feature model of the page (theory of tails).

    Raises
    ------
    FieldError
        If the state is none whose tail is solved here.
    """
    if state.spread == 0:
        return None
    stated = problem(state)
    if stated.loss != "mse" or stated.depth != 1 or stated.features != "linear" or state.feature_dim is not None:
        raise FieldError("spread", "samples are drawn for squared error, linear features of any dimension and depth 1")
    k, total = stated.num_classes, stated.num_samples
    if k > _MOST_CLASSES or total > _MOST_SAMPLES:
        raise FieldError("spread", f"samples are drawn for up to {_MOST_CLASSES} classes and {_MOST_SAMPLES} samples")
    labels, activations = _activations(tuple(stated.counts.tolist()), state.spread)
    with refusals():
        found = ufm.solve(
            ufm.TailProblem(
                stated.encoding,
                labels,
                activations,
                weight_decay=stated.weight_decay,
                inner_decay=stated.feature_decay,
                bias_decay=stated.bias_decay,
            ),
            throw=False,
        )
        features = found.features()
    means = np.stack([features[labels == c].mean(axis=0) for c in range(k)], axis=1)
    first = np.concatenate([np.flatnonzero(labels == c)[:_DRAWN] for c in range(k)])
    weight = found.matrix @ np.linalg.pinv(found.features_map)
    return Cloud(weight, means, features[first], labels[first].tolist(), float(found.nc1_trace_ratio))


@lru_cache(maxsize=8)
def _activations(counts: tuple[int, ...], spread: float) -> tuple[np.ndarray, FloatArray]:
    labels = np.repeat(np.arange(len(counts)), counts)
    noise = np.random.default_rng(0).standard_normal((len(labels), 3 * len(counts)))
    activations = spread * noise
    activations[np.arange(len(labels)), labels] += 1
    return labels, activations / np.sqrt(np.asarray(counts, dtype=np.float64)[labels])[:, None]
