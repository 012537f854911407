"""The catalogue: data sets by name or from a file, whole or as a seeded subset."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from encollapse import _checks
from encollapse._typing import ArrayLike
from encollapse.data import sources
from encollapse.data.dataset import Dataset
from encollapse.data.subsets import stratified_split, with_counts
from encollapse.errors import ArgumentError, ArgumentTypeError

CATALOGUE: dict[str, Callable[[], Dataset]] = {"digits": sources.digits, "mnist5k": sources.mnist5k}


def names() -> tuple[str, ...]:
    """Names that :func:`load` knows."""
    return tuple(CATALOGUE)


def recognised(name_or_path: str | Path) -> bool:
    """Whether :func:`load` takes it: a name, or a path of a kind that it reads. Nothing is opened."""
    return name_or_path in CATALOGUE or Path(name_or_path).suffix == ".npz"


def load(
    name_or_path: str | Path, *, counts: ArrayLike | None = None, holdout: float = 0.0, seed: int = 0
) -> Dataset:
    """Load a data set of the catalogue, or an ``.npz`` file with arrays ``inputs`` and ``labels``.

    ``load("digits", counts=[170, 100, 60, 40, 30, 20, 15, 10, 7, 5])`` is an imbalanced training set.

    Parameters
    ----------
    name_or_path : str or path
        A name of :func:`names`, or a file ending in ``.npz``, which may also hold ``test_inputs`` with
        ``test_labels``, and ``classes``.
    counts : int or (K,) ints, optional
        Training samples to keep of each class, chosen at random; an int is the same for every class.
        Default: all of them.
    holdout : float
        Fraction of every class, in [0, 1), that is kept away from training as the test set; 0 keeps
        the whole set for training. Held out before `counts` is applied.
    seed : int
        Decides which samples are held out and which are kept. The same seed gives the same sets.

    Raises
    ------
    ArgumentError
        If the name is unknown, a class has fewer samples than `counts` asks for, or `holdout` is out of
        range or given for a file that brings its own test set.
    FileNotFoundError, FileFormatError
        If the file is missing or not a data set.
    MissingDependencyError
        If the package that ships the data is not installed.
    """
    fraction = _checks.nonnegative(holdout, "holdout")
    if fraction >= 1:
        raise ArgumentError(f"holdout: expected a fraction in [0, 1), got {fraction}")
    seed = _checks.integer(seed, "seed", minimum=0)
    whole = _source(name_or_path)
    train, test = whole.train, whole.test
    if fraction > 0:
        if test is not None:
            raise ArgumentError(f"holdout: {whole.name!r} brings its own test set; use holdout=0")
        kept, held = stratified_split(train.labels, fraction, seed)
        train, test = train.take(kept), train.take(held)
    if counts is not None:
        wanted = _checks.class_counts(counts, whole.num_classes)
        train = train.take(with_counts(train.labels, wanted, seed))
    provenance = {
        "source": str(name_or_path),
        "counts": np.bincount(train.labels).tolist(),
        "holdout": fraction,
        "seed": seed,
    }
    return Dataset(whole.name, train, test, whole.classes, provenance)


def _source(name_or_path: str | Path) -> Dataset:
    if not isinstance(name_or_path, str | Path):
        raise ArgumentTypeError(f"name_or_path: expected a name or a path, got {name_or_path!r}")
    if isinstance(name_or_path, str) and name_or_path in CATALOGUE:
        return CATALOGUE[name_or_path]()
    path = Path(name_or_path)
    if path.suffix == ".npz":
        return sources.npz(path)
    raise ArgumentError(
        f"name_or_path: no data set is called {str(name_or_path)!r}; there are {', '.join(CATALOGUE)}, "
        "and files ending in .npz with arrays inputs and labels"
    )
