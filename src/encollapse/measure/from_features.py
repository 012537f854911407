"""`collapse`: measure features that are at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike
from encollapse.data.io.arrays import load_array
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError
from encollapse.measure.class_moments import ClassMoments
from encollapse.measure.decisions.classifier import LinearClassifier, known_classes, require_encoding
from encollapse.measure.moments.inputs import FeatureRows, labeled_rows, labels_for, moments_device
from encollapse.measure.moments.projection import keeps_covariance
from encollapse.measure.result import Collapse
from encollapse.measure.second_pass import finish
from encollapse.metrics import Convention, as_convention, intervals
from encollapse.metrics.statistics import ClassStatistics, plausible_classes


def collapse(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    encoding: Encoding | str | None = None,
    loss: str = "mse",
    num_classes: int | None = None,
    convention: str | Convention = "default",
    covariance: bool | None = None,
    ignore_index: int | None = None,
    interval: Literal["jackknife", "bootstrap"] | None = None,
    about: Collapse | None = None,
) -> Collapse:
    """Measure the collapse of features, and of the linear classifier on top of them.

    Everything is computed in float64, block by block, whatever the dtype of the features.

    Parameters
    ----------
    features : (N, d)
        Last-hidden-layer features, one row a sample: numpy or torch, any device, any real floating dtype.
    labels : (N,) ints
        Classes from 0 to K - 1. Classes without samples are allowed and enter nothing. With a label for each position,
        as (B, T) of tokens or (B, H, W) of images, the features are (B, T, d) or (B, H, W, d), or (B, d, H, W) where
        no mistake is possible.
    weight : (q, d), optional
        Weight of the last linear layer, as ``torch.nn.Linear`` keeps it.
    bias : (q,), optional
        Its bias. None with a weight means that the layer has none.
    encoding : Encoding or str, optional
        What the outputs were trained toward. With it the classifier decides by
        :meth:`~encollapse.encodings.Encoding.decode` of ``W h + b``, without it for the largest output.
    loss : {"mse", "cross_entropy"}
        What it was trained with: it decides which codeword is nearest, where they differ in norm or entropy, and
        which condition of a minimizer `label_centering` is about.
    num_classes : int, optional
        Number of classes. Default: that of the encoding, otherwise the largest label plus one.
    convention : str or Convention
        Averaging and scaling choices. See :class:`encollapse.metrics.Convention`.
    covariance : bool, optional
        Gather the (d, d) within-class covariance, which ``vci`` and the split of the squared error need. Without
        it ``nc1_pinv`` is taken along the class means in the second pass. Default: where it takes less than
        4 GiB and is not a product of many seconds that NC1 alone can do without. The ``route`` of the result names it.
    ignore_index : int, optional
        Label of samples that are left out. Default: -100.
    interval : {"jackknife", "bootstrap"}, optional
        Give intervals for the values of NC1, NC2 and NC3, as ``intervals``. See :func:`encollapse.metrics.intervals`.
        It measures 20 or 200 times, in float64.
    about : Collapse, optional
        Measurement of other samples, such as the training set: spread and decisions are then about its class means,
        and so are NC2 and NC3. See :func:`encollapse.measure.held_out`.

    Returns
    -------
    Collapse
        Values or reasons, and the geometry to compare with a prediction.

    Raises
    ------
    ArgumentError
        If there are no samples, an entry is not finite, a label is out of range, or shapes disagree.
    ArgumentTypeError
        If features are not real floating-point numbers, or labels not whole numbers.

    Examples
    --------
    >>> import numpy as np, encollapse as ec
    >>> labels = np.arange(15) % 5
    >>> features = np.eye(5, 7)[labels]          # every sample at the mean of its class: collapsed
    >>> measured = ec.measure.collapse(features, labels, weight=np.eye(5, 7))
    >>> round(measured.nc1_trace_ratio, 12), measured.nc4_agreement
    (0.0, 1.0)
    """
    chosen = as_convention(convention)
    if interval is not None:
        checks.choice(interval, "interval", ("jackknife", "bootstrap"))
    features, labels = labeled_rows(features, labels, ignore_index)
    rows = FeatureRows(features)
    if rows.num_rows == 0:
        raise ArgumentError("features: no samples; at least one row is needed")
    others = None if about is None else statistics_of(about, rows.feature_dim)
    if others is not None and num_classes is None:
        num_classes = others.num_classes
    classes = _num_classes(num_classes, encoding, labels, rows.num_rows)
    targets = labels_for(labels, classes, rows.num_rows)
    classifier = LinearClassifier.of(weight, bias, encoding, classes, rows.feature_dim, loss)
    moments = ClassMoments(
        classes,
        rows.feature_dim,
        device=moments_device(rows.device),
        covariance=keeps_covariance(covariance, rows.feature_dim, num_rows=rows.num_rows, num_classes=classes),
    )
    moments.update(features, targets)
    found = finish(rows, targets, moments, classifier, chosen, about=others)
    if interval is None:
        return found
    if about is not None:
        raise ArgumentError("interval: is for class means of the same samples, and about gives others; leave one out")
    values = np.concatenate([block.cpu().numpy() for block in rows.blocks(torch.device("cpu"), double=True)])
    ends = intervals(values, targets, interval, num_classes=classes, weight=classifier.weight, convention=chosen)
    return replace(found, intervals=ends)


def statistics_of(about: Collapse, feature_dim: int) -> ClassStatistics:
    """Class means of another measurement, of features of the same dimension."""
    checks.instance(about, "about", Collapse, what="a Collapse of other samples")
    found = about.statistics
    if found.feature_dim != feature_dim:
        raise ArgumentError(f"about: is of {found.feature_dim} features a sample, and these have {feature_dim}")
    return found


def load_features(path: str | Path, key: str | None = None) -> ArrayLike:
    """Read features of a file.

    Parameters
    ----------
    path, key
        As for :func:`encollapse.measure.load_array`.

    Returns
    -------
    (N, d) numpy.ndarray or torch.Tensor
        In the real floating-point dtype of the file.

    Raises
    ------
    FileNotFoundError, ArgumentError, FileFormatError
        As for :func:`encollapse.measure.load_array`, and if the array is no matrix.
    ArgumentTypeError
        If its entries are no real floating-point numbers.

    Examples
    --------
    >>> import tempfile, numpy as np, encollapse as ec
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.save(f"{folder.name}/features.npy", np.ones((11, 7), np.float32))
    >>> ec.measure.load_features(f"{folder.name}/features.npy").shape
    (11, 7)
    """
    features = load_array(path, key)
    FeatureRows(features, str(path))
    return features


def _num_classes(given: int | None, encoding: Encoding | str | None, labels: ArrayLike, num_rows: int) -> int:
    require_encoding(encoding)
    known = known_classes(given, encoding)
    if known is not None:
        return known
    checked = checks.class_labels(labels, 2**62)
    if not len(checked):
        raise ArgumentError(f"labels: got 0 labels for {num_rows} rows of features")
    return plausible_classes(int(checked.max()) + 1, num_rows)
