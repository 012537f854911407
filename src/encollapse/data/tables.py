"""Tables with a column of labels: numbers out of columns of any kind, classes out of any labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import IntArray
from encollapse.data.dataset import Split
from encollapse.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

Numbers = np.ndarray[Any, Any]


def classes_of(labels: Any, name: str = "labels") -> tuple[IntArray, tuple[str, ...]]:
    """Number the classes of labels (N,) of any kind.

    Whole numbers from 0 on stand for themselves, without names. Anything else is numbered in the order of its values:
    by size if all of them are numbers, otherwise by the alphabet.

    Raises
    ------
    ArgumentError
        If a label is missing.
    """
    raw = np.asarray(labels)
    if raw.dtype.kind in "iu" and raw.size and raw.min() == 0 and len(np.unique(raw)) == raw.max() + 1:
        return raw.astype(np.int64), ()
    text = np.array([_text(value) for value in raw.ravel()])
    if raw.ndim != 1 or (text == "").any():
        where = f"sample {int(np.argmax(text == ''))} has none" if raw.ndim == 1 else f"got shape {raw.shape}"
        raise ArgumentError(f"{name}: expected one label for each sample, but {where}; remove such samples")
    found, numbers = np.unique(text, return_inverse=True)
    try:
        order = np.argsort([float(value) for value in found], kind="stable")
    except ValueError:
        order = np.arange(len(found))
    places = np.empty(len(found), np.int64)
    places[order] = np.arange(len(found))
    return places[numbers], tuple(str(found[i]) for i in order)


def numbers_of(table: pd.DataFrame, missing: str) -> tuple[Numbers, IntArray, str]:
    """Turn a table into numbers (N, p): numeric columns as they are, each value of other columns a column of 0 and 1.

    Parameters
    ----------
    table : DataFrame
        One sample a row.
    missing : {"error", "drop", "mean"}
        What to do about missing entries: refuse them, drop their rows, or put the mean of their column there (in
        columns that hold no numbers they are a value of their own).

    Returns
    -------
    numbers : (N', p) array
    rows : (N',) ints
        Rows that were kept.
    note : str
        What was done, for the provenance.

    Raises
    ------
    ArgumentError
        If entries are missing and must not be, or no row is left.
    """
    import pandas as pd

    checks.choice(missing, "missing", ("error", "drop", "mean"))
    gaps = table.isna()
    rows = np.arange(len(table))
    notes = []
    if gaps.to_numpy().any():
        column = gaps.columns[int(gaps.any().to_numpy().argmax())]
        if missing == "error":
            raise ArgumentError(
                f"missing: {int(gaps[column].sum())} of {len(table)} samples have no {column!r}; give "
                "missing='drop' to leave such samples out, or 'mean' to fill the gaps"
            )
        if missing == "drop":
            rows = np.flatnonzero(~gaps.any(axis=1).to_numpy())
            notes.append(f"{len(table) - len(rows)} incomplete samples dropped")
            if len(rows) == 0:
                raise ArgumentError("missing: every sample has a gap; give missing='mean'")
            table = table.iloc[rows]
        else:
            notes.append("gaps filled with the mean")
    columns: list[Numbers] = []
    spread = 0
    for name in table.columns:
        values = table[name]
        if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            numbers = values.to_numpy(np.float64, na_value=math.nan)
            if np.isnan(numbers).any():
                numbers = np.where(np.isnan(numbers), np.nanmean(numbers), numbers)
            columns.append(numbers[:, None])
        else:
            columns.append(
                pd.get_dummies(values.astype(object), dummy_na=bool(values.isna().any())).to_numpy(np.float64)
            )
            spread += 1
    if spread:
        notes.append(f"{spread} columns of categories spread over columns of 0 and 1")
    return np.hstack(columns), rows, "; ".join(notes)


def image_shape(pixels: Numbers) -> tuple[int, int, int] | None:
    """Shape (C, H, W) of square images where every entry is a byte and there are 14² of them or more, else None."""
    size = pixels.shape[1]
    for channels in (1, 3):
        side = math.isqrt(size // channels)
        if side >= 14 and channels * side * side == size:
            whole = pixels.min() >= 0 and 16 < pixels.max() <= 255 and bool((pixels == np.floor(pixels)).all())
            return (channels, side, side) if whole else None
    return None


def standardized(train: Split, test: Split | None) -> tuple[Split, Split | None]:
    """Give every column, or every channel of images, mean 0 and variance 1 over the training samples.

    Columns that are constant there become 0.

    Parameters
    ----------
    train : Split
        Samples whose mean and variance are taken.
    test : Split or None
        Samples that are shifted and scaled as those.

    Returns
    -------
    train, test : Split, Split or None

    Examples
    --------
    >>> import encollapse as ec
    >>> train, _ = ec.data.standardized(ec.data.Split([[1.0, 5.0], [3.0, 5.0]], [0, 1]), None)
    >>> train.inputs.tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    axes = (0, *range(2, train.inputs.ndim))
    middle = train.inputs.mean(axes, keepdims=True, dtype=np.float64)
    spread = train.inputs.std(axes, keepdims=True, dtype=np.float64)
    gain = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-6 * np.abs(middle))

    def scaled(split: Split) -> Split:
        return Split((split.inputs - middle) * gain, split.labels, split.clean_labels, split.rows)

    return scaled(train), None if test is None else scaled(test)


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bytes):
        return value.decode()
    return str(int(value)) if isinstance(value, float | np.floating) and value.is_integer() else str(value)
