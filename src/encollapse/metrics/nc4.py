"""NC4: whether the classifier decides as the nearest class mean does, and how often each is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike
from encollapse.errors import ArgumentError, Undefined
from encollapse.metrics.registry import metric


@dataclass(frozen=True)
class Decisions:
    """How many samples were decided how. What is not known is None, for a `reason`.

    Parameters
    ----------
    num_samples : int
        Samples that were decided.
    nearest_mean_right : int, optional
        Those whose nearest class mean is that of their class.
    classifier_right : int, optional
        Those that the classifier puts into their class.
    agree : int, optional
        Those that both put into the same class.
    reason : str
        Why what is None is not known.

    Examples
    --------
    >>> import encollapse as ec
    >>> decisions = ec.metrics.Decisions.of(labels=[0, 0, 1], nearest_mean=[0, 1, 1], classifier=[0, 1, 0])
    >>> round(ec.metrics.nc4_agreement(decisions), 3)
    0.667
    """

    num_samples: int = 0
    nearest_mean_right: int | None = None
    classifier_right: int | None = None
    agree: int | None = None
    reason: str = "no decisions were counted"

    @classmethod
    def of(cls, labels: ArrayLike, nearest_mean: ArrayLike, classifier: ArrayLike | None = None) -> Decisions:
        """Count decisions.

        Parameters
        ----------
        labels : (N,) ints
            Classes of the samples.
        nearest_mean, classifier : (N,) ints
            What the nearest class mean decides, and what the classifier does, if there is one.

        Raises
        ------
        ArgumentError
            If there are no samples or the lengths differ.
        """
        names = {"labels": labels, "nearest_mean": nearest_mean, "classifier": classifier}
        given = {n: checks.class_labels(v, 2**62, n) for n, v in names.items() if v is not None}
        for name, values in given.items():
            if len(values) != len(given["labels"]) or not len(values):
                raise ArgumentError(f"{name}: expected one class for each of {len(given['labels'])} labels (not 0)")
        right, near = given["labels"], given["nearest_mean"]
        count = len(right), int(np.sum(near == right))
        if "classifier" not in given:
            return cls(*count, reason="no weight was given")
        return cls(*count, int(np.sum(given["classifier"] == right)), int(np.sum(given["classifier"] == near)))


def _share(decisions: Decisions, count: int | None) -> float:
    if count is None or not decisions.num_samples:
        raise Undefined(decisions.reason)
    return count / decisions.num_samples


@metric(
    "NC4, agreement",
    "share of samples: classifier decides as the nearest class mean",
    r"\frac1N \sum_i [\hat y(h_i) = \arg\min_k |h_i - m_k|]",
    "papyan2020",
    family="nc4",
    ideal=1.0,
    range=(0.0, 1.0),
    example="0.75",
)
def nc4_agreement(decisions: Decisions) -> float:
    """Share of samples that classifier and nearest class mean put into the same class."""
    return _share(decisions, decisions.agree)


@metric(
    "accuracy, nearest mean",
    "share of samples: nearest class mean is right",
    r"\frac1N \sum_i [y_i = \arg\min_k |h_i - m_k|]",
    "papyan2020",
    family="nc4",
    ideal=1.0,
    range=(0.0, 1.0),
    example="0.75",
)
def ncc_accuracy(decisions: Decisions) -> float:
    """Share of samples whose nearest class mean is that of their class."""
    return _share(decisions, decisions.nearest_mean_right)


@metric(
    "accuracy",
    "share of samples: classifier is right",
    r"\frac1N \sum_i [\hat y(h_i) = y_i]",
    family="nc4",
    ideal=1.0,
    range=(0.0, 1.0),
    example="0.5",
)
def accuracy(decisions: Decisions) -> float:
    """Share of samples that the classifier puts into their class."""
    return _share(decisions, decisions.classifier_right)
