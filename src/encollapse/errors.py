"""The exceptions and warnings that encollapse raises on purpose."""


class EncollapseError(Exception):
    """Base of every error that encollapse raises on purpose.

    Examples
    --------
    >>> import encollapse as ec
    >>> try:
    ...     ec.encodings.by_name("one-hat", 5)
    ... except ec.errors.EncollapseError as error:
    ...     print(str(error).split(";")[0])
    name: no encoding is called 'one-hat'
    """


class ArgumentError(EncollapseError, ValueError):
    """An argument has a value that cannot be used. The text names it, shows it and says what to do.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.label_smoothing(5, 1.2)
    Traceback (most recent call last):
    encollapse.errors.ArgumentError: smoothing: expected a number from 0 to 1, got 1.2
    """


class ArgumentTypeError(EncollapseError, TypeError):
    """An argument has a type or dtype that cannot be used.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.one_hot("five")
    Traceback (most recent call last):
    encollapse.errors.ArgumentTypeError: num_classes: expected a whole number, ...
    """


class Undefined(EncollapseError, ValueError):  # noqa: N818 (an answer: callers turn it into a reason)
    """A metric has no value for these data. The text is the reason that the user reads.

    Examples
    --------
    >>> import encollapse as ec
    >>> statistics = ec.metrics.ClassStatistics.from_features([[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]], [0, 1, 1])
    >>> try:
    ...     ec.metrics.nc1_trace_ratio(statistics)
    ... except ec.errors.Undefined:
    ...     print("class means that coincide have no ratio")
    class means that coincide have no ratio
    """


class UnsupportedError(EncollapseError, NotImplementedError):
    """The request is well formed, but this version has no method for it.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.spherical(6_000, 20)
    Traceback (most recent call last):
    encollapse.errors.UnsupportedError: num_classes: spherical searches for up to 5000 classes, ...
    """


class MemoryLimitError(EncollapseError, MemoryError):
    """A dense array was asked for that would exceed the stated memory limit.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.one_hot(1_000_000).codewords
    Traceback (most recent call last):
    encollapse.errors.MemoryLimitError: codewords: the dense 1000000 × 1000000 matrix needs 7450.6 GiB, ...
    """


class SolverError(EncollapseError, RuntimeError):
    """A solver finished without reaching its certificate. ``solve(..., throw=False)`` returns what it has."""


class TrainingError(EncollapseError, RuntimeError):
    """A training went wrong, such as a loss that stopped being finite. The text says what to change."""


class MissingDependencyError(EncollapseError, ImportError):
    """An optional dependency is needed for this call. The text gives the command that installs it."""


class DownloadError(EncollapseError, ConnectionError):
    """Data could not be fetched. The text gives the reason and what to do without a network."""


class FileFormatError(EncollapseError, ValueError):
    """A file does not hold what its name or the call promised.

    Examples
    --------
    >>> import encollapse as ec
    >>> from pathlib import Path
    >>> _ = Path("notes.json").write_text("{}")
    >>> ec.encodings.Encoding.load("notes.json")
    Traceback (most recent call last):
    encollapse.errors.FileFormatError: notes.json: not an encoding file of encollapse: ...
    """


class WriteError(EncollapseError, OSError):
    """A file or a folder cannot be written. The text names it and gives the reason.

    Examples
    --------
    >>> import encollapse as ec
    >>> from pathlib import Path
    >>> _ = Path("taken").write_text("a file, not a folder")
    >>> ec.encodings.one_hot(3).save("taken/encoding.json")
    Traceback (most recent call last):
    encollapse.errors.WriteError: taken/encoding.json: cannot be written ('taken' is a file); ...
    """


class EncollapseWarning(UserWarning):
    """Something works but is probably not what was meant.

    Examples
    --------
    >>> import encollapse as ec
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as seen:
    ...     warnings.simplefilter("always")
    ...     _ = ec.encodings.from_similarity([[1.0, -2.0], [-2.0, 1.0]])
    >>> seen[0].category.__name__
    'EncollapseWarning'
    """
