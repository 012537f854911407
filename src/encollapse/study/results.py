"""`Results`: what a study found, read from its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encollapse._internal import checks, files
from encollapse._internal.json_values import revived
from encollapse._internal.shown import Shown
from encollapse.errors import ArgumentError, FileFormatError, MissingDependencyError
from encollapse.geometry import ClassGeometry
from encollapse.geometry.arrays import Arrays
from encollapse.geometry.comparison import MEANINGS
from encollapse.study.execution.trial import reason_of
from encollapse.study.labels import dataset_label, encoding_label, model_label
from encollapse.study.record import EXCESS_COLUMNS, TrialRecord
from encollapse.study.store.arrays import load_arrays, load_geometries, load_history
from encollapse.study.store.folder import rerun_command
from encollapse.study.store.sqlite import Store, StoredTrial
from encollapse.study.study import Study
from encollapse.study.trials import THEORY, Trial
from encollapse.train.settings import decay_of

if TYPE_CHECKING:
    import pandas

ERRORS = tuple(MEANINGS)
"""Names of the errors of a comparison, in the order of its rows."""

FORMATS = ("parquet", "csv")

_OF_RECORD = (
    "feature_decay",
    "threshold_c",
    "threshold_t",
    "converged",
    "stationarity",
    "loss",
    "predicted_loss",
    "relative_excess",
    "decay_time",
    "prediction_kind",
    "test_accuracy",
    "test_nc4_agreement",
    "test_balanced_accuracy",
    "test_minority_accuracy",
)
_NO_METRIC = ("num_classes", "counts", "provenance", "missing")


@dataclass(frozen=True)
class TrialResult:
    """A stored trial: its settings, how it ended, and the geometries predicted and measured.

    Attributes
    ----------
    trial : Trial
        What was asked for.
    row : StoredTrial
        What the store keeps: status, record or error, times, versions and attempts.
    arrays_path, history_path : Path
        Files of the geometries and of the history.
    again : str
        The command that runs what the folder lacks.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import encollapse as ec
    >>> study = ec.study.load("digits-transition")
    >>> theory = tuple(ec.study.Trial({**trial.settings, "model": "ufm"}) for trial in study.trials[:2])
    >>> results = ec.study.run(replace(study, trials=theory), out="runs/one", executor="inline", progress=False)
    >>> (result, *_) = results.done
    >>> result.record.prediction_kind, result.comparison_error("gram_error") < 1e-12
    ('minimum', True)
    >>> predicted, measured = result.geometries()
    >>> round(predicted.mean_cosine(), 6) == round(measured.mean_cosine(), 6)
    True
    """

    trial: Trial
    row: StoredTrial
    arrays_path: Path
    history_path: Path
    again: str = field(default="run the study into its folder once more", kw_only=True)

    @property
    def id(self) -> str:
        """Identity of the trial, from its settings."""
        return self.trial.id

    @property
    def settings(self) -> Mapping[str, Any]:
        """What was asked for."""
        return self.trial.settings

    @property
    def label(self) -> str:
        """The trial in one line."""
        return self.trial.label

    @property
    def decay(self) -> str:
        """What the training regularized: ``"ufm"`` (the features explicitly), ``"plain"`` or ``"decoupled"``."""
        return decay_of(self.settings.get("train", {}))

    @property
    def trained(self) -> bool:
        """Whether a network was trained, and not the exact minimizer found in its place."""
        return bool(self.settings["model"] != THEORY)

    @property
    def done(self) -> bool:
        """Whether the trial ended with a record."""
        return self.row.status == "done"

    @property
    def record(self) -> TrialRecord:
        """What was found.

        Raises
        ------
        ArgumentError
            If the trial failed. Then `error` says why.
        """
        if self.row.record is None:
            raise ArgumentError(f"trial {self.id} ({self.label}) failed and has no record; see its error")
        return self.row.record

    @property
    def error(self) -> str | None:
        """Traceback of a failed trial."""
        return self.row.error

    @property
    def reason(self) -> str:
        """Why a trial failed, in one line, or empty where it did not."""
        return reason_of(self.error)

    @property
    def stopped_early(self) -> bool:
        """Whether the training ended before its objective was stationary: then errors are not only the theory's."""
        return self.done and self.record.stopped_early

    def comparison_error(self, name: str) -> float | None:
        """One error of the comparison by name, or None where it was not defined."""
        value = (self.record.comparison or {}).get(name)
        return None if value is None else float(value)

    def geometries(self) -> tuple[ClassGeometry | None, ClassGeometry]:
        """Read (predicted, measured) from the trial's file. The first is None where there is no theory."""
        with self._reading():
            return load_geometries(self.arrays_path, self.row.files.get("arrays"))

    def history(self) -> list[dict[str, Any]]:
        """Read the rows of the training's history, first to last, or empty where nothing was trained."""
        with self._reading():
            return load_history(self.history_path, self.row.files.get("history"))

    def frames(self) -> Arrays:
        """Read the class geometry along the training, where the study asked for it with ``measure.frames``.

        ``epoch`` (F,), ``class_means`` (F, d, K), ``weight`` (F, q, d), ``bias`` (F, q), and of a few samples of each
        class ``samples`` (F, n, d) and ``sample_labels`` (F, n), in float32. Empty otherwise. Studies of earlier
        releases have no samples.
        """
        prefix = "frames."
        with self._reading():
            arrays = load_arrays(self.arrays_path, self.row.files.get("arrays"))
        return {name.removeprefix(prefix): v for name, v in arrays.items() if name.startswith(prefix)}

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Say whose file it is that is damaged or missing, and what runs that trial again."""
        owner = f"It is of the trial {self.id} ({self.label})."
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error.filename}: there is no such file. {owner} To run only that trial again: {self.again}"
            ) from None
        except FileFormatError as error:
            raise FileFormatError(
                f"{error}. {owner} To run only that trial again, delete the file, then: {self.again}"
            ) from None


@dataclass(frozen=True)
class Results(Shown):
    """Stored trials of a study, in the study's order. Trials that have not run are in `missing`.

    Attributes
    ----------
    path : Path
        Folder of the results.
    study : Study
        The study as it was when it last ran.
    trials : tuple of TrialResult
        Trials that ended, failed ones included.
    missing : tuple of Trial
        Trials that have not run.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import encollapse as ec
    >>> study = ec.study.load("digits-transition")
    >>> theory = tuple(ec.study.Trial({**trial.settings, "model": "ufm"}) for trial in study.trials[:2])
    >>> results = ec.study.run(replace(study, trials=theory), out="runs/two", executor="inline", progress=False)
    >>> len(results.done), len(results.failed), len(results.missing)
    (2, 0, 0)
    >>> results.to_frame()[["encoding.name", "bias_decay", "seed", "converged"]]
      encoding.name  bias_decay  seed  converged
    0       one-hot         0.0     0       True
    1       one-hot         0.0     1       True
    """

    path: Path
    study: Study
    trials: tuple[TrialResult, ...]
    missing: tuple[Trial, ...]

    def __repr__(self) -> str:
        return (
            f"Results({self.study.name!r}, done={len(self.done)}, failed={len(self.failed)}, "
            f"missing={len(self.missing)}, path={str(self.path)!r})"
        )

    @property
    def done(self) -> tuple[TrialResult, ...]:
        """Trials that ended with a record."""
        return tuple(result for result in self.trials if result.done)

    @property
    def failed(self) -> tuple[TrialResult, ...]:
        """Trials that raised, or whose worker died."""
        return tuple(result for result in self.trials if not result.done)

    def worst(self, error: str = "gram_error") -> TrialResult | None:
        """Trial with the largest value of one error of the comparison, or None if no trial has it.

        Parameters
        ----------
        error : str
            Name of a row of :class:`~encollapse.geometry.Comparison`.

        Raises
        ------
        ArgumentError
            If there is no error of that name.
        """
        if error not in ERRORS:
            raise ArgumentError(f"error: expected one of {', '.join(map(repr, ERRORS))}, got {error!r}")
        known = [result for result in self.done if result.comparison_error(error) is not None]
        return max(known, key=lambda result: result.comparison_error(error) or 0.0, default=None)

    def to_frame(self) -> pandas.DataFrame:
        """One row a stored trial, failed ones included: settings, every metric, comparison errors, timing.

        Settings have dotted names such as ``train.learning_rate``. What the columns mean is in the documentation.
        """
        import pandas

        return pandas.DataFrame([_trial_row(result) for result in self.trials])

    def history_frame(self) -> pandas.DataFrame:
        """One row a look at a training: ``trial``, ``epoch``, and every value that the history keeps."""
        import pandas

        return pandas.DataFrame(_history_rows(self.done))

    def export(self, folder: str | Path, *, format: str = "parquet") -> list[Path]:  # noqa: A002
        """Write :meth:`to_frame` to ``trials`` and :meth:`history_frame` to ``history`` in a folder.

        Parameters
        ----------
        folder : str or path
            Made if it is not there.
        format : {"parquet", "csv"}
            Also the ending of the files.

        Raises
        ------
        ArgumentError
            If the format is another.
        MissingDependencyError
            If Parquet is asked for and pyarrow is not installed.
        """
        frames = {"trials": self.to_frame(), "history": self.history_frame()}
        return [_write(_one_type(frame), Path(folder) / name, format) for name, frame in frames.items()]


def open_results(path: str | Path) -> Results:
    """Open the results in a folder, finished or not.

    Parameters
    ----------
    path : str or path
        What :func:`encollapse.study.run` got as `out`.

    Returns
    -------
    Results
        As they are now. A study that still runs may be opened at any time.

    Raises
    ------
    FileNotFoundError
        If the folder holds none.
    FileFormatError
        If its files are not those of a study.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import encollapse as ec
    >>> study = ec.study.load("digits-transition")
    >>> theory = tuple(ec.study.Trial({**trial.settings, "model": "ufm"}) for trial in study.trials[:2])
    >>> results = ec.study.run(replace(study, trials=theory), out="runs/three", executor="inline", progress=False)
    >>> ec.study.open("runs/three").study
    Study('digits-transition', trials=2)
    """
    store = Store(checks.path(path, "path", what="a folder"))
    store.require()
    study = Study.from_definition(store.read_definition(), store.file).at(store.path)
    again = rerun_command(study.origin, store.path)
    rows = store.rows(again)
    stored = tuple(
        TrialResult(trial, rows[trial.id], store.arrays_path(trial.id), store.history_path(trial.id), again=again)
        for trial in study.trials
        if trial.id in rows
    )
    missing = tuple(trial for trial in study.trials if trial.id not in rows)
    return Results(store.path, study, stored, missing)


def _one_type(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Columns that hold values of several kinds as text, which every format can keep."""
    mixed = {
        str(name): column.map(str, na_action="ignore")
        for name, column in frame.items()
        if len({type(value) for value in column.dropna()}) > 1 and column.dtype == object
    }
    return frame.assign(**mixed)


def _trial_row(result: TrialResult) -> dict[str, Any]:
    """A stored trial as one row: what it is called, its settings, how it ended, and every value that was found."""
    settings, row = result.settings, result.row
    values: dict[str, Any] = {
        "trial": result.id,
        "status": row.status,
        "dataset": dataset_label(settings),
        "model": model_label(settings),
        "encoding": encoding_label(settings),
        **_flat({key: value for key, value in settings.items() if not key.startswith("model")}),
        **_flat({"model": {"name": settings["model"], "options": settings.get("model_options", {})}}),
        "attempts": row.attempts,
        "started": row.started,
        "finished": row.finished,
        "seconds": row.seconds,
        "error": reason_of(row.error) or None,
    }
    if not result.done:
        return values
    record, prediction = result.record, result.record.prediction
    certificate = None if prediction is None else prediction.certificate
    values |= {name: getattr(record, name) for name in _OF_RECORD}
    values |= {name: record.value(name) for name in EXCESS_COLUMNS}
    values |= {name: result.comparison_error(name) for name in MEANINGS}
    values |= {
        "critical_bias_decay": None if prediction is None else prediction.critical_bias_decay,
        "mean_cosine_predicted": None if prediction is None else prediction.mean_cosine,
        "mean_cosine_measured": record.mean_cosine,
        "certificate_kind": None if certificate is None else certificate.kind,
        "certificate_gap": None if certificate is None else certificate.gap,
        "certificate_holds": None if certificate is None else certificate.holds,
    }
    return values | {name: value for name, value in record.collapse.items() if name not in _NO_METRIC}


def _history_rows(results: Iterable[TrialResult]) -> list[dict[str, Any]]:
    """Every row of every history, with the trial that it belongs to."""
    return [
        {"trial": result.id, **{name: revived(value) for name, value in look.items()}}
        for result in results
        for look in result.history()
    ]


def _write(frame: pandas.DataFrame, path: Path, format: str) -> Path:  # noqa: A002
    """Write a table to a file ending in its format, which appears whole or not at all.

    Raises
    ------
    ArgumentError
        If the format is not one of :data:`FORMATS`.
    MissingDependencyError
        If Parquet is asked for and pyarrow is not installed.
    """
    checks.choice(format, "format", FORMATS)
    target = path.with_name(f"{path.name}.{format}")
    writers: dict[str, Callable[[Path], Any]] = {
        "csv": lambda file: frame.to_csv(file, index=False),
        "parquet": lambda file: frame.to_parquet(file, index=False),
    }
    with files.atomic(target) as temporary:
        try:
            writers[format](temporary)
        except ImportError:
            raise MissingDependencyError(
                "format='parquet' needs pyarrow, which is not installed: pip install 'encollapse[parquet]'"
            ) from None
    return target


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted name. A list is JSON text, so that a column has one type."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            flat[f"{prefix}{key}"] = json.dumps(value)
        else:
            flat[f"{prefix}{key}"] = value
    return flat
