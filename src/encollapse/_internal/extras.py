"""Packages that a part of the library needs, and that a small installation leaves out."""

from collections.abc import Iterator
from contextlib import contextmanager

from encollapse.errors import MissingDependencyError


@contextmanager
def needed_by(part: str, extra: str) -> Iterator[None]:
    """Name what is missing, and the extra that brings it, where imports of a part fail.

    Raises
    ------
    MissingDependencyError
        If a package of others is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "encollapse":
            raise
        raise MissingDependencyError(
            f"{part} needs {error.name}, which is not installed; pip install 'encollapse[{extra}]'"
        ) from error
