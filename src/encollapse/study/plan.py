"""What a study would do: its trials in groups, the predicted thresholds, and how long it may take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from encollapse._internal import files
from encollapse._internal.shown import Shown
from encollapse._internal.typing import IntArray
from encollapse.errors import EncollapseError, UnsupportedError
from encollapse.study.execution.executors import cpus
from encollapse.study.labels import labels_of
from encollapse.study.resolve import dataset_of, encoding_of, problem_of
from encollapse.study.results import Results, open_results
from encollapse.study.store.folder import FILE
from encollapse.study.store.sqlite import Store
from encollapse.study.study import Study
from encollapse.study.trials import THEORY, Trial, kind_of
from encollapse.train import models, usual

_WITHIN = ("bias_decay", "seed")
"""What varies inside a group."""

_EQUAL = 1e-9
"""Relative distance from the critical bias decay that counts as none."""


RATE = 1e10
"""Multiplications a second that one thread is taken to make."""

STEP_SECONDS = 1e-3
"""What a step of an optimizer costs whatever the size of the network."""

THEORY_SECONDS = 0.02  # of a trial without a network
FINISH_SHARE = 0.4
"""Share of the most iterations of L-BFGS that are taken to be needed."""

_PASSES = 3
"""Multiplications of a pass with its gradient, in those of a pass without."""


@dataclass(frozen=True)
class TrialGroup:
    """Trials that differ in nothing but bias decay and seed.

    Attributes
    ----------
    label : str
        What tells the group from the others.
    trials : tuple of Trial
        At least one.
    num_samples, num_classes : int or None
        Sizes of the training set, or None where it cannot be loaded.
    threshold_c, threshold_t : float or None
        ``c = √(N λ_W λ_H)`` and ``t = c√K``, or None where the features are not regularized.
    critical : float or None
        Critical bias decay, or None where the notion does not apply.
    symbol : str
        What `critical` is: ``"λ_b*"``, or the practical value where the critical one is 0.
    explanation : str
        About the critical bias decay, in words.
    seconds : float or None
        Of one trial, as far as can be told.
    source : str
        Where `seconds` come from: ``"stored trials"``, ``"rough count"`` or ``"unknown"``.
    problem : str or None
        Why none of the trials can run.
    """

    label: str
    trials: tuple[Trial, ...]
    num_samples: int | None = None
    num_classes: int | None = None
    threshold_c: float | None = None
    threshold_t: float | None = None
    critical: float | None = None
    symbol: str = "λ_b*"
    explanation: str = ""
    seconds: float | None = None
    source: str = "unknown"
    problem: str | None = None

    @property
    def bias_decays(self) -> list[float]:
        """Distinct bias decays, ascending."""
        return sorted({float(trial.settings["bias_decay"]) for trial in self.trials})

    @property
    def seeds(self) -> list[int]:
        """Distinct seeds, ascending."""
        return sorted({int(trial.settings["seed"]) for trial in self.trials})

    def side(self, bias_decay: float) -> str:
        """``"below"``, ``"at"`` or ``"above"`` the critical bias decay, or ``""`` where there is none."""
        if self.critical is None:
            return ""
        if math.isfinite(self.critical) and abs(bias_decay - self.critical) <= _EQUAL * self.critical:
            return "at"
        return "above" if bias_decay > self.critical else "below"


@dataclass(frozen=True)
class Plan(Shown):
    """Groups of a study, how many of its trials a folder already holds, and how long the others may take.

    Attributes
    ----------
    study : Study
        What is planned.
    groups : tuple of TrialGroup
        Trials that differ in nothing but bias decay and seed, with what the theory predicts for them.
    stored : int
        Trials that need not run.
    workers : int
        Trials that run at a time.
    seconds : float or None
        For all that is left, as far as can be told.

    Examples
    --------
    >>> import encollapse as ec
    >>> planned = ec.study.plan(ec.study.load("digits-transition"), workers=2)
    >>> planned.stored, planned.sources
    (0, ['rough count'])
    """

    study: Study
    groups: tuple[TrialGroup, ...]
    stored: int
    workers: int
    seconds: float | None

    @property
    def sources(self) -> list[str]:
        """Where the seconds come from, without repetition."""
        return sorted({group.source for group in self.groups})


def plan(study: Study, *, out: str | Path | None = None, workers: int | None = None) -> Plan:
    """Work out what running a study would do. Nothing is trained or written.

    Parameters
    ----------
    study : Study
        The study.
    out : str or path, optional
        Folder of its results: trials stored there need not run, and tell how long their like take.
    workers : int, optional
        Trials that run at a time. Default: one a CPU.

    Returns
    -------
    Plan
        A group that cannot run says why in its `problem`. That is no error here.

    Raises
    ------
    FileFormatError
        If `out` holds results that cannot be read.

    Examples
    --------
    >>> import encollapse as ec
    >>> (group, *_) = ec.study.plan(ec.study.load("digits-transition")).groups
    >>> group.label, len(group.trials), round(group.critical, 4)
    ('one-hot', 18, 0.4286)
    >>> group.side(0.1)
    'below'
    """
    count = workers or cpus()
    results, done = None, set[str]()
    if out is not None and files.is_file(Path(out) / FILE):
        results = open_results(out)
        done = {trial_id for trial_id, status in Store(out).statuses().items() if status == "done"}
    gathered: dict[str, list[Trial]] = {}
    for trial in study.trials:
        gathered.setdefault(kind_of(trial.settings, _WITHIN), []).append(trial)
    # What varies inside a group is left out of its name.
    firsts = [Trial({**trials[0].settings, "bias_decay": 0.0, "seed": 0}) for trials in gathered.values()]
    names = labels_of(firsts, always=("encoding",))
    groups = tuple(
        _group(names[first.id], tuple(trials), results) for first, trials in zip(firsts, gathered.values(), strict=True)
    )
    total: float | None = 0.0
    for group in groups:
        left = sum(trial.id not in done for trial in group.trials)
        if left and group.problem is None:
            total = None if total is None or group.seconds is None else total + left * group.seconds
    stored = sum(trial.id in done for trial in study.trials)
    return Plan(study, groups, stored, count, None if total is None else total / count)


def _group(label: str, trials: tuple[Trial, ...], results: Results | None) -> TrialGroup:
    settings = trials[0].settings
    try:
        dataset = dataset_of(settings)
        sizes: dict[str, Any] = {"num_samples": len(dataset.train), "num_classes": dataset.num_classes}
        seconds = _stored_seconds(settings, results)
        sizes["source"] = "unknown" if seconds is None else "stored trials"
        if seconds is None:
            rank = _most_rank(settings, dataset.counts)
            seconds = rough_seconds(settings, len(dataset.train), dataset.train.inputs.shape[1:], rank=rank)
            sizes["source"] = "unknown" if seconds is None else "rough count"
        try:
            problem = problem_of(settings, dataset.counts)
        except UnsupportedError as error:
            return TrialGroup(label, trials, **sizes, seconds=seconds, explanation=str(error))
        critical, symbol = problem.turning_point()
        return TrialGroup(
            label,
            trials,
            **sizes,
            seconds=seconds,
            threshold_c=problem.threshold,
            threshold_t=problem.threshold * math.sqrt(problem.num_classes),
            critical=critical,
            symbol=symbol,
            explanation=problem.explain(),
        )
    except (EncollapseError, FileNotFoundError) as error:
        return TrialGroup(label, trials, problem=str(error))


def _stored_seconds(settings: Mapping[str, Any], results: Results | None) -> float | None:
    """Median time of stored trials of the same kind: alike but for encoding, decays and seed."""
    other = (*_WITHIN, "encoding", "weight_decay", "feature_decay", "relative_threshold")
    kind = kind_of(settings, other)
    found = [r.row.seconds for r in (results.done if results else ()) if kind_of(r.settings, other) == kind]
    return median(found) if found else None


def _most_rank(settings: Mapping[str, Any], counts: IntArray) -> int:
    """Largest rank that the minimizer of a trial can have: default widths follow it."""
    if settings["model"] == THEORY or "design" in settings["encoding"]:
        return len(counts)
    return min(encoding_of(settings, counts).code_dim, len(counts))


def rough_seconds(
    settings: Mapping[str, Any], num_samples: int, input_shape: Sequence[int], *, rank: int = 1
) -> float | None:
    """Seconds that a trial may take on one thread, within a factor of some, or None for a network not known here.

    Widths and features that are not given are those that a training takes for a minimizer of this `rank`.
    """
    if settings["model"] == THEORY:
        return THEORY_SECONDS
    each = _multiplications(settings, input_shape, rank)
    if each is None:
        return None
    options = settings.get("train", {})
    options = usual.RECIPES.get(options.get("recipe") or "", {}) | options
    batch_size = options.get("batch_size", 64)
    usual_epochs, usual_finish = models.lengths(settings["model"], num_samples, rank=rank, batch_size=batch_size)
    epochs = settings.get("epochs", options.get("epochs", usual_epochs))
    iterations = FINISH_SHARE * options.get("finish", usual_finish)
    steps = epochs * math.ceil(num_samples / batch_size) + iterations
    return float((epochs + iterations) * num_samples * each * _PASSES / RATE + steps * STEP_SECONDS)


def _multiplications(settings: Mapping[str, Any], shape: Sequence[int], rank: int = 1) -> float | None:
    """Multiplications of one sample's way through the network."""
    name = settings["model"]
    if name not in models.names():
        return None
    feature_dim = settings.get("train", {}).get("feature_dim") or max(usual.FEATURES, rank)
    options = models.check_options(name, settings.get("model_options"), rank=rank)
    if name == "mlp":
        widths = [math.prod(shape), *[options["width"]] * options["depth"], feature_dim]
        return float(sum(before * after for before, after in pairwise(widths)))
    if len(shape) != 3:
        return None
    channels, height, width = shape
    if name == "cnn":
        total = 0.0
        for after in options["channels"]:
            height, width = (height + 1) // 2, (width + 1) // 2
            total += 9 * channels * after * height * width
            channels = after
        return float(total + options["hidden"] * (channels * height * width + feature_dim))
    if name == "vgg":
        total, area = 0.0, height * width
        for after in (options["width"] * 2**stage for stage in range(options["stages"])):
            total += 9 * area * after * (channels + after)
            channels, area = after, math.ceil(area / 4)
        return float(total + channels * area * feature_dim)
    if name not in ("resnet8", "resnet18"):
        return None
    stages, blocks = (3, 1) if name == "resnet8" else (4, 2)
    area = height * width / options["stem_stride"] ** 2
    # Halving the image and doubling the channels leaves the work of a stage as it is.
    return float(9 * channels * options["width"] * area + stages * blocks * 18 * options["width"] ** 2 * area)
