"""The exceptions and warnings that encollapse raises on purpose."""


class EncollapseError(Exception):
    """Base of every error that encollapse raises on purpose."""


class ArgumentError(EncollapseError, ValueError):
    """An argument has a value that cannot be used. The text names it, shows it and says what to do."""


class ArgumentTypeError(EncollapseError, TypeError):
    """An argument has a type or dtype that cannot be used."""


class Undefined(EncollapseError, ValueError):  # noqa: N818 (an answer: callers turn it into a reason)
    """A metric has no value for these data; the text is the reason that the user reads."""


class UnsupportedError(EncollapseError, NotImplementedError):
    """The request is well formed, but this version has no method for it."""


class MemoryLimitError(EncollapseError, MemoryError):
    """A dense array was asked for that would exceed the stated memory limit."""


class SolverError(EncollapseError, RuntimeError):
    """A solver finished without reaching its certificate; ``solve(..., throw=False)`` returns what it has."""


class TrainingError(EncollapseError, RuntimeError):
    """A training went wrong, such as a loss that stopped being finite; the text says what to change."""


class MissingDependencyError(EncollapseError, ImportError):
    """An optional dependency is needed for this call; the text gives the command that installs it."""


class DownloadError(EncollapseError, ConnectionError):
    """Data could not be fetched; the text gives the reason and what to do without a network."""


class FileFormatError(EncollapseError, ValueError):
    """A file does not hold what its name or the call promised."""


class WriteError(EncollapseError, OSError):
    """A file or a folder cannot be written; the text names it and gives the reason."""


class EncollapseWarning(UserWarning):
    """Something works but is probably not what was meant."""
