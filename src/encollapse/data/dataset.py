"""`Dataset`: labeled arrays in plain numpy, with or without a hold-out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, IntArray
from encollapse.errors import ArgumentError, ArgumentTypeError


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs and labels of one set of samples. Arrays are copied and read-only.

    Parameters
    ----------
    inputs : (N, ...) array
        One sample a row, kept as float32. Finite.
    labels : (N,) ints
        Class of each sample, 0 or above, kept as int64.
    clean_labels : (N,) ints, optional
        The true classes where `labels` were changed on purpose, or None where they were not.
    rows : (N,) ints, optional
        Which sample of the source each one is. Default: 0, 1, ...

    Raises
    ------
    ArgumentError
        If the lengths differ, there is no sample, a label is negative, or inputs are not finite or lose every
        difference in float32.

    Examples
    --------
    >>> import encollapse as ec
    >>> split = ec.data.Split([[0.5, 1.0], [2.0, 0.0], [1.5, 1.5]], [0, 1, 1])
    >>> len(split), split.take([2, 0]).rows
    (3, array([2, 0]))
    """

    inputs: NDArray[Any]
    labels: IntArray
    clean_labels: IntArray | None = None
    rows: IntArray = field(default=None)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        raw = checks.to_numpy(self.inputs, "inputs")
        if raw.dtype.kind not in "fiu":
            raise ArgumentTypeError(f"inputs: expected real numbers, got dtype {raw.dtype}")
        if raw.ndim < 2 or raw.size == 0:
            raise ArgumentError(f"inputs: expected shape (N, ...) with at least one sample, got {raw.shape}")
        with np.errstate(over="ignore"):
            inputs = raw.astype(np.float32)
        if not np.isfinite(inputs).all():
            row = int(np.argwhere(~np.isfinite(inputs))[0, 0])
            raise ArgumentError(
                f"inputs: every entry must be finite in float32, but sample {row} has one that is not; "
                "remove or rescale such samples"
            )
        if _all_alike(inputs) and not _all_alike(raw):
            raise ArgumentError(
                f"inputs: the samples differ, but are all the same in float32 (the first entry is {raw.flat[0]!s}); "
                "take off what they have in common, or rescale them"
            )
        object.__setattr__(self, "inputs", checks.read_only(inputs))
        given = {"labels": self.labels, "clean_labels": self.clean_labels}
        given["rows"] = np.arange(len(inputs)) if self.rows is None else self.rows
        for name, values in given.items():
            if values is None:
                continue
            checked = checks.class_labels(values, np.iinfo(np.int64).max, name)
            if len(checked) != len(inputs):
                raise ArgumentError(f"{name}: expected one for each of the {len(inputs)} inputs, got {len(checked)}")
            object.__setattr__(self, name, checks.read_only(checked))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: ArrayLike) -> Split:
        """Return the samples at `indices`, in that order."""
        clean = None if self.clean_labels is None else self.clean_labels[indices]
        return Split(self.inputs[indices], self.labels[indices], clean, self.rows[indices])


def _all_alike(inputs: NDArray[Any]) -> bool:
    """Whether every sample is the first one. The last one is compared first, as it differs in most data."""
    return bool((inputs[-1] == inputs[0]).all() and (inputs == inputs[:1]).all())


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training set with its classes, and perhaps a hold-out.

    Parameters
    ----------
    name : str
        What tables and reports call it.
    train : Split
        Training samples. Every class must occur.
    test : Split, optional
        Samples kept away from training.
    classes : sequence of str, optional
        Names of the classes. Default: ``"0"``, ``"1"``, ... up to the largest label.
    provenance : mapping
        How the data were obtained (options of :func:`load`), as plain values only.

    Attributes
    ----------
    counts : (K,) ints
        Training samples of each class, counted here.

    Raises
    ------
    ArgumentError
        If there are fewer than two classes, a class has no training sample, or train and test disagree
        in the shape of an input or the range of labels.

    Examples
    --------
    >>> import encollapse as ec
    >>> train = ec.data.Split([[0.5, 1.0], [2.0, 0.0], [1.5, 1.5]], [0, 1, 1])
    >>> data = ec.data.Dataset("mine", train, classes=["no", "yes"])
    >>> data, data.counts
    (Dataset('mine', num_classes=2, train=3, test=0), array([1, 2]))
    """

    name: str
    train: Split
    test: Split | None = None
    classes: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    counts: IntArray = field(init=False)

    def __post_init__(self) -> None:
        present = np.unique(self.train.labels)
        if not self.classes and len(present) <= present[-1]:  # before memory is taken for what is not there
            raise _gap(int(np.argmax(present != np.arange(len(present)))))
        classes = tuple(str(c) for c in self.classes) or tuple(str(k) for k in range(len(present)))
        if len(classes) < 2:
            raise ArgumentError("labels: expected at least two classes, got one")
        checks.class_labels(self.train.labels, len(classes))
        counts = np.bincount(self.train.labels, minlength=len(classes)).astype(np.int64)
        if not counts.all():
            raise _gap(int(np.argmin(counts)))
        if self.test is not None:
            checks.class_labels(self.test.labels, len(classes), "test_labels")
            if self.test.inputs.shape[1:] != self.train.inputs.shape[1:]:
                raise ArgumentError(
                    f"test_inputs: expected samples of shape {self.train.inputs.shape[1:]} as in training, "
                    f"got {self.test.inputs.shape[1:]}"
                )
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "counts", checks.read_only(counts))
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled, and process pools send datasets out.
        return (Dataset, (self.name, self.train, self.test, self.classes, dict(self.provenance)))

    def __repr__(self) -> str:
        held = 0 if self.test is None else len(self.test)
        return f"Dataset({self.name!r}, num_classes={self.num_classes}, train={len(self.train)}, test={held})"

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.classes)


def _gap(k: int) -> ArgumentError:
    return ArgumentError(f"labels: class {k} has no training sample; number the classes from 0 without gaps")
