"""`measure_shards`: collapse of features in many files, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from encollapse._internal import checks
from encollapse._internal.progress import tracked
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError
from encollapse.measure.assembly import assemble
from encollapse.measure.decisions.classifier import LinearClassifier, known_classes, require_encoding
from encollapse.measure.moments.projection import Projection, keeps_covariance
from encollapse.measure.packing import MomentShape, unpack
from encollapse.measure.result import Collapse
from encollapse.measure.second_pass import with_covariance
from encollapse.measure.shards.executing import in_order
from encollapse.measure.shards.layout import Shard, find_shards
from encollapse.measure.shards.spans import Rules, Span, covariance_of, cut, decisions_of, moments_of
from encollapse.metrics import Convention, Decisions, as_convention
from encollapse.metrics.nc1 import wants_exact_covariance
from encollapse.metrics.statistics import ClassStatistics, plausible_classes

T = TypeVar("T")


def measure_shards(
    features: str | Path | Iterable[str | Path],
    labels: ArrayLike | str | Path | None = None,
    *,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    encoding: Encoding | str | None = None,
    loss: str = "mse",
    num_classes: int | None = None,
    convention: str | Convention = "default",
    covariance: bool | None = None,
    centers: ArrayLike | None = None,
    second_pass: bool = True,
    executor: Executor | None = None,
    key: str | None = None,
    label_key: str | None = None,
    progress: bool = True,
) -> Collapse:
    """Measure the collapse of features in a folder of files, which may be larger than memory.

    The files are read in blocks, twice: for the moments, then, with the class means known, for the
    comparison with the nearest class mean. Neither the order in which workers finish nor their number
    changes a bit of the result.

    Parameters
    ----------
    features : folder, file, or list of files
        Features (N, d), one row a sample: ``.npy`` (memory-mapped), ``.npz``, ``.safetensors``, ``.parquet``
        (a list column, or a column a feature). A folder is read in natural order of names, 2 before 10.
    labels : file, folder, array or None
        None: the labels of ``part-1.npy`` are in ``part-1.labels.npy`` (or .npz, ...), or in the array or column
        ``labels``, ``label``, ``target`` or ``class`` of the shard itself. A folder: files of the same names. A file
        or an array: the labels of all shards, one after the other.
    weight, bias, encoding, loss, num_classes, convention
        As for :func:`collapse`.
    covariance : bool, optional
        Gather the (d, d) within-class covariance, which ``vci`` and the split of the squared error need. Without
        it ``nc1_pinv`` is taken along the class means in the second pass. Default: where it takes less than
        4 GiB. The ``route`` of the result names it.
    centers : (K, d), optional
        Class means to decide by, such as those of an earlier pass. One pass over the files is then enough.
    second_pass : bool
        Read the files again for ``nc4_agreement``, ``ncc_accuracy`` and ``accuracy``, unless `centers` are given.
    executor : concurrent.futures.Executor, optional
        Where pieces of work run: a process pool, Dask's ``Client.get_executor()``. Default: in this process.
    key, label_key : str, optional
        Names of the arrays, where a file holds several.
    progress : bool
        Show a progress bar where standard error is a terminal and the work takes more than two seconds.

    Returns
    -------
    Collapse
        Values or reasons, and the geometry to compare with a prediction.

    Raises
    ------
    FileNotFoundError
        If a file or folder is not there.
    ArgumentError, FileFormatError
        If labels are missing or do not fit, widths differ, a file is torn or an entry is not finite. The text
        names the file.

    Examples
    --------
    >>> import tempfile, numpy as np, encollapse as ec
    >>> folder, labels = tempfile.TemporaryDirectory(), np.arange(10) % 5
    >>> for part in range(3):
    ...     np.savez(f"{folder.name}/part-{part}.npz", features=np.eye(5, 7)[labels] * (part + 1), labels=labels)
    >>> measured = ec.measure.measure_shards(folder.name)
    >>> measured.num_samples, measured.geometry.provenance["shards"]
    (30, 3)
    """
    chosen = as_convention(convention)
    require_encoding(encoding)
    shards = find_shards(features, labels, key=key, label_key=label_key)
    num_rows, dim = sum(shard.num_rows for shard in shards), shards[0].feature_dim
    if not num_rows:
        raise ArgumentError("features: no samples; at least one row is needed")
    size = _num_classes(num_classes, encoding, shards, num_rows)
    twice = second_pass and centers is None
    kept = keeps_covariance(covariance, dim, num_rows=num_rows if twice else None, num_classes=size)
    shape = MomentShape(size, dim, kept)
    classifier = LinearClassifier.of(weight, bias, encoding, size, dim, loss)
    given = None if centers is None else Rules(_as_statistics(centers, size, dim), classifier)
    pieces = cut(shards, size)

    total, counts = shape.blank(), np.zeros(4, dtype=np.int64)
    found = in_order(executor, moments_of, pieces, shape, given)
    for packed, part in _shown(found, pieces, progress, "measuring (1 of 2)" if twice else "measuring"):
        total.merge(unpack(torch.from_numpy(packed), shape))
        if given is not None:
            counts += part
    statistics = total.statistics()

    def gathered_again(text: str, *, double: bool) -> ClassStatistics:
        slim = replace(statistics, within_covariance=None, class_averaged_covariance=None)  # it travels
        shares = in_order(executor, covariance_of, pieces, slim, chosen.within_averaging, double)
        covariance = torch.from_numpy(np.asarray(sum(_shown(shares, pieces, progress, text))))
        return with_covariance(statistics, chosen.within_averaging, covariance, double=double)

    if chosen.within_averaging == "class" and kept and not statistics.balanced:
        statistics = gathered_again("averaging over classes", double=False)
    if wants_exact_covariance(statistics, chosen):
        statistics = gathered_again("covariance in float64", double=True)
    rules = given or Rules(statistics, classifier)
    if twice:
        averaging = None if kept else chosen.within_averaging
        basis = None if averaging is None else Projection.worthwhile(statistics, averaging, torch.device("cpu"))
        scatter: FloatArray = np.zeros(0) if basis is None else basis.total
        again = in_order(executor, decisions_of, pieces, rules, None if basis is None else averaging)
        for part, share in _shown(again, pieces, progress, "measuring (2 of 2)"):
            counts += part
            scatter = scatter + share
        if basis is not None:
            statistics = replace(statistics, projected=basis.within(scatter))
    decisions = Decisions(reason="second_pass=False")
    if counts.any():
        tally = rules.tally()
        tally.add_counts(counts.tolist())
        decisions = tally.decisions()
    return assemble(statistics, classifier, chosen, decisions, {"shards": len(shards)})


def count_classes(
    features: str | Path | Iterable[str | Path],
    labels: ArrayLike | str | Path | None = None,
    *,
    key: str | None = None,
    label_key: str | None = None,
) -> int:
    """Return the largest label of the files plus one.

    Parameters
    ----------
    features, labels, key, label_key
        As for :func:`measure_shards`.

    Returns
    -------
    int
        The number of classes that :func:`measure_shards` takes unless another one is given.

    Raises
    ------
    FileNotFoundError, ArgumentError, FileFormatError
        As for :func:`measure_shards`, and if there are far more classes than samples.

    Examples
    --------
    >>> import tempfile, numpy as np, encollapse as ec
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.savez(f"{folder.name}/part-1.npz", features=np.ones((3, 7)), labels=np.array([0, 4, 1]))
    >>> ec.measure.count_classes(folder.name)
    5
    """
    shards = find_shards(features, labels, key=key, label_key=label_key)
    return _num_classes(None, None, shards, sum(shard.num_rows for shard in shards))


def _shown(results: Iterator[T], pieces: list[tuple[Span, ...]], show: bool, text: str) -> Iterator[T]:
    return tracked(results, len(pieces), show=show, text=text)


def _num_classes(given: int | None, encoding: Encoding | str | None, shards: list[Shard], num_rows: int) -> int:
    known = known_classes(given, encoding)
    if known is not None:
        return known
    tops = [int(s.labels.read(0, s.num_rows).max()) for s in shards if s.num_rows]
    return plausible_classes(max(tops, default=-1) + 1, num_rows)


def _as_statistics(centers: ArrayLike, num_classes: int, feature_dim: int) -> ClassStatistics:
    means = checks.array(centers, "centers", (num_classes, feature_dim), axes="(K, d)", finite=False)
    present = np.isfinite(means).all(axis=1)
    if not present.any():
        raise ArgumentError("centers: every row has entries that are not finite; give at least one class mean")
    counts = np.asarray(present, dtype=np.int64)
    return ClassStatistics(means, counts, np.where(present, 0.0, np.nan))
