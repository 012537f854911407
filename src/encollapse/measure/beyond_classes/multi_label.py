"""Multi-label collapse: whether samples of several tags lie along the sum of the means of their tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike
from encollapse.errors import ArgumentError, ArgumentTypeError


def tag_angles(features: ArrayLike, tags: Sequence[Iterable[int]] | ArrayLike) -> dict[tuple[int, ...], float]:
    """Angle in degrees between the mean of each set of tags and the sum of the means of its single tags.

    0 for every set is the tag-wise average property of multi-label collapse :cite:p:`li2024`. Means are
    about the plain average of the single-tag means. Sets with a tag that never comes alone are left out.

    Parameters
    ----------
    features : (N, d)
        One row a sample.
    tags : sequence of N sets of ints, or array (N, num_tags) of zeros and ones
        The tags of each sample, whole numbers from 0.

    Returns
    -------
    dict
        The angle by the tags of the set, ascending. Sets whose mean or sum has no direction are left out.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If the numbers of samples disagree, a set is empty or no set of whole numbers, or fewer than two tags come
        alone.

    Examples
    --------
    >>> import numpy as np, encollapse as ec
    >>> features = np.array([[3.0, 0, 0], [0, 3, 0], [0, 0, 3], [2, 2, -1]])
    >>> ec.measure.tag_angles(features, [{0}, {1}, {2}, {0, 1}])
    {(0, 1): 0.0}
    """
    rows = checks.array(features, "features", (None, None), axes="(num_samples, feature_dim)")
    sets = _sets(tags)
    if len(sets) != len(rows):
        raise ArgumentError(f"tags: got {len(sets)} sets for {len(rows)} rows of features")
    if () in sets:
        raise ArgumentError(f"tags: the set at index {sets.index(())} is empty; drop such samples first")
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, own in enumerate(sets):
        groups.setdefault(own, []).append(i)
    means = {own: rows[index].mean(axis=0) for own, index in groups.items()}
    single = {own[0]: mean for own, mean in means.items() if len(own) == 1}
    if len(single) < 2:
        raise ArgumentError(f"tags: at least two tags must come alone, got {len(single)}")
    center = np.mean(list(single.values()), axis=0)
    angles = {}
    for own, mean in means.items():
        if len(own) < 2 or not all(tag in single for tag in own):
            continue
        total = np.sum([single[tag] - center for tag in own], axis=0)
        found = mean - center
        lengths = np.linalg.norm(total), np.linalg.norm(found)
        if all(lengths):
            a, b = total / lengths[0], found / lengths[1]
            # arccos loses half the digits at small angles
            angles[own] = float(np.degrees(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))))
    return angles


def _sets(tags: Any) -> list[tuple[int, ...]]:
    """Tags of each sample, ascending."""
    if getattr(tags, "ndim", 0) == 2:
        marks = checks.to_numpy(tags, "tags")
        if not ((marks == 0) | (marks == 1)).all():
            raise ArgumentError("tags: an array (N, num_tags) has a 1 for each tag of a sample and 0 for the others")
        return [tuple(np.flatnonzero(own).tolist()) for own in marks]
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise ArgumentTypeError(f"tags: expected a set of whole numbers a sample, got {type(tags).__name__}")
    return [_set(own, f"tags[{i}]") for i, own in enumerate(tags)]


def _set(own: Any, name: str) -> tuple[int, ...]:
    if isinstance(own, str) or not isinstance(own, Iterable) or getattr(own, "ndim", 1) == 0:
        raise ArgumentTypeError(f"{name}: expected a set of whole numbers, got {own!r} of type {type(own).__name__}")
    values = (tag.item() if hasattr(tag, "item") else tag for tag in own)
    return tuple(sorted({checks.integer(tag, name, minimum=0) for tag in values}))
