"""Any classification data set of OpenML, for users with internet, or from the cache of an earlier download."""

from __future__ import annotations

import http.client
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.extras import needed_by
from encollapse.data import tables
from encollapse.data.dataset import Dataset, Split
from encollapse.errors import ArgumentError, ArgumentTypeError, DownloadError, FileFormatError

PREFIX = "openml:"


def openml(
    name: str,
    version: int | str = "active",
    folder: str | Path | None = None,
    target: str | None = None,
    missing: str = "error",
    image: list[int] | tuple[int, ...] | None = None,
) -> Dataset:
    """Fetch a data set by its name on openml.org. What was fetched stays in a cache on disk.

    Square tables of bytes are taken for images (N, C, H, W) and divided by 255. Other columns become numbers, see
    :func:`encollapse.data.tables.numbers_of`, and are standardized by :func:`encollapse.data.load`.

    Parameters
    ----------
    name : str
        Name, as in ``https://www.openml.org/search?type=data``, or the number of a data set.
    version : int or str
        Version of the data set. Default: the active one.
    folder : str or path, optional
        Folder of the cache. Default: that of scikit-learn.
    target : str, optional
        Column with the labels. Default: the one that OpenML names.
    missing : {"error", "drop", "mean"}
        What to do about missing entries.
    image : sequence of 3 ints, optional
        Channels, height and width of the images that the columns are.

    Raises
    ------
    DownloadError
        If OpenML cannot be reached and the data set is not in the cache.
    ArgumentError, ArgumentTypeError
        If there is no such data set, or an option cannot be used.
    MissingDependencyError
        If scikit-learn or pandas is not installed.
    """
    checks.choice(missing, "missing", ("error", "drop", "mean"))
    shape = None if image is None else _shape(image)
    kept_in = None if folder is None else str(checks.path(folder, "folder"))
    frame, labels = _fetched(name, version, kept_in, target)
    numbers, rows, note = tables.numbers_of(frame, missing)
    classes, class_names = tables.classes_of(np.asarray(labels)[rows], "target")
    shape = shape or tables.image_shape(numbers)
    inputs = note or "as they are"
    if shape is not None:
        if numbers.shape[1] != np.prod(shape):
            raise ArgumentError(
                f"image: {name!r} has {numbers.shape[1]} columns, which are not {' × '.join(map(str, shape))} pixels"
            )
        numbers, inputs = numbers.reshape(-1, *shape) / 255, "pixels divided by 255"
    try:
        split = Split(numbers, classes, rows=rows)
        return Dataset(f"{PREFIX}{name}", split, classes=class_names, provenance={"inputs": inputs})
    except (ArgumentError, ArgumentTypeError) as error:
        raise FileFormatError(f"{PREFIX}{name}: not a data set of classes: {error}") from None


def _shape(image: Any) -> tuple[int, ...]:
    if not isinstance(image, list | tuple) or len(image) != 3:
        raise ArgumentTypeError(f"image: expected channels, height and width, got {image!r}")
    return tuple(checks.integer(size, "image", minimum=1) for size in image)


@lru_cache(maxsize=1)
def _fetched(name: str, version: int | str, folder: str | None, target: str | None) -> tuple[Any, Any]:
    with needed_by(f"{PREFIX}{name}", "study"):
        import pandas as pd
        from sklearn.datasets import fetch_openml
    which: dict[str, Any] = {"data_id": int(name)} if name.isdigit() else {"name": name, "version": version}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # several active versions: the oldest is taken
            bunch = fetch_openml(
                **which,
                target_column=target or "default-target",
                data_home=folder,
                as_frame=True,
                # The other parser, "pandas", fails on classes that are numbers, and clears the cache then.
                parser="liac-arff",
                n_retries=1,
            )
    # URLError and its likes are OSErrors, and so is a full disk: the reason is passed on.
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(
            f"{PREFIX}{name}: OpenML cannot be reached and the data set is not in the cache ({error}); connect to the "
            "internet, or copy a scikit_learn_data folder from a machine that fetched it and give it as folder="
        ) from error
    except (ValueError, KeyError) as error:
        raise ArgumentError(
            f"name_or_path: {PREFIX}{name} cannot be loaded ({error}); look it up on openml.org"
        ) from error
    if not isinstance(bunch.target, pd.Series):
        raise ArgumentError(f"target: {PREFIX}{name} has no column of labels of its own; name one with target=")
    return bunch.data, bunch.target
