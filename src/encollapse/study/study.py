"""`Study`: a question put to networks, as a list of trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from encollapse._internal import checks, files
from encollapse.errors import ArgumentError, FileFormatError
from encollapse.study.spec import read as spec
from encollapse.study.spec.file_digests import adopt, adopted
from encollapse.study.trials import Trial, canonical_json, expand, parse_settings


@dataclass(frozen=True)
class Study:
    """A named set of trials.

    Attributes
    ----------
    name : str
        Also the name of its default folder.
    title, description : str
        What a report says was asked.
    trials : tuple of Trial
        Distinct, in the order in which they run.
    source : str
        The study file as it was read.
    origin : str
        A built-in name or a path: what to give to run it again.
    trial_seconds : float or None
        Limit of the time of a trial.

    Examples
    --------
    >>> import encollapse as ec
    >>> study = ec.study.load("digits-transition")
    >>> study
    Study('digits-transition', trials=27)
    >>> study.trials[0].label
    'digits, 174 a class · mlp · one-hot · λ_b = 0 · seed 0'
    """

    name: str
    title: str
    description: str
    trials: tuple[Trial, ...]
    source: str
    origin: str
    trial_seconds: float | None = None

    def __repr__(self) -> str:
        return f"Study({self.name!r}, trials={len(self.trials)})"

    def at(self, folder: Path, *, copy: bool = False) -> Study:
        """Return the study with the encoding files that are kept in its folder, after copying them if asked to."""
        place = adopt if copy else adopted
        return replace(self, trials=tuple(Trial(place(trial.settings, folder)) for trial in self.trials))

    def definition(self) -> dict[str, Any]:
        """Plain values from which :meth:`from_definition` makes the study again."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "trials": [canonical_json(trial.settings) for trial in self.trials],
            "source": self.source,
            "origin": self.origin,
            "trial_seconds": self.trial_seconds,
        }

    @staticmethod
    def from_definition(definition: Mapping[str, Any], file: str | Path = "results") -> Study:
        """Inverse of :meth:`definition`. `file` is what errors call it."""
        try:
            trials = tuple(Trial(parse_settings(text)) for text in definition["trials"])
            texts = {key: str(definition[key]) for key in ("name", "title", "description", "source", "origin")}
            lacking = {key for trial in trials for key in _NEEDED if key not in trial.settings}
            if lacking:
                raise KeyError(*lacking)
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise FileFormatError(
                f"{file}: the study in it cannot be read ({type(error).__name__}: {error}); run it again"
            ) from None
        return Study(trials=trials, trial_seconds=definition.get("trial_seconds"), **texts)


_NEEDED = ("dataset", "encoding", "model", "bias_decay", "weight_decay", "features", "seed")
"""Settings that every trial has."""


def names() -> tuple[str, ...]:
    """Names of the built-in studies.

    Returns
    -------
    tuple of str
        In alphabetical order.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.study.names()[:3]
    ('decay-kinds', 'designed-encoding', 'digits-accuracy')
    """
    return tuple(sorted(file.name.removesuffix(".toml") for file in _builtin() if file.name.endswith(".toml")))


def load(path_or_name: str | Path) -> Study:
    """Load a study from a TOML file, or a built-in one by name.

    Parameters
    ----------
    path_or_name : str or path
        A file ending in ``.toml``, or one of :func:`names`.

    Returns
    -------
    Study
        Its trials are checked and distinct. Nothing has run yet.

    Raises
    ------
    ArgumentError
        If it is neither a file ending in ``.toml`` nor a name of :func:`names`.
    FileNotFoundError
        If there is no such file.
    FileFormatError
        Naming the file, the line, the block and the key, if something in it cannot be used.

    Warns
    -----
    EncollapseWarning
        If the file has a key by a former name.

    Examples
    --------
    >>> from pathlib import Path
    >>> import encollapse as ec
    >>> text = '''
    ... name = "mine"
    ... title = "Two encodings with and without bias"
    ... [[runs]]
    ... dataset = "digits"
    ... encoding = ["one-hot", "simplex"]
    ... weight_decay = 5e-3
    ... relative_threshold = 0.3
    ... bias_decay = [0, inf]
    ... '''
    >>> _ = Path("mine.toml").write_text(text, encoding="utf-8")
    >>> ec.study.load("mine.toml")
    Study('mine', trials=4)
    """
    path, text = checks.path(path_or_name, "path_or_name", what="a name or a path"), str(path_or_name)
    if text in names():
        file = next(f for f in _builtin() if f.name == f"{text}.toml")
        return parse(file.read_text(encoding="utf-8"), str(file), origin=text)
    if path.suffix != ".toml":
        meant = checks.did_you_mean(text, names())
        raise ArgumentError(
            f"study: no built-in study is called {text!r}; {meant and meant + ' '}there are {', '.join(names())}, "
            "and files ending in .toml"
        )
    if not files.is_file(path):
        raise FileNotFoundError(2, "No such file or directory", str(path))
    try:
        source = path.read_text(encoding="utf-8-sig")  # editors of Windows begin a file with a mark
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: not a text file in UTF-8 ({error.reason})") from None
    return parse(source, str(path), origin=text)


def parse(source: str, file: str, *, origin: str) -> Study:
    """Make a study from the text of a study file. `file` is what errors call it."""
    head, blocks = spec.read(source, file)
    distinct: dict[str, Trial] = {}
    for index, block in enumerate(blocks):
        trials = expand(block)
        spec.check_trainings(trials, index, file, source)
        distinct |= {trial.id: trial for trial in trials}
    every = tuple(distinct.values())
    return Study(head.name, head.title, head.description.strip(), every, source, origin, head.trial_seconds)


def _builtin() -> list[Any]:
    return list(resources.files("encollapse.study").joinpath("builtin").iterdir())
