"""Trials that differ in nothing but bias regularization and seed: one curve each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from encollapse import ufm
from encollapse._internal.typing import IntArray
from encollapse.data.imbalance import rare_classes
from encollapse.errors import UnsupportedError
from encollapse.study.labels import encoding_label, model_label, setting_labels
from encollapse.study.resolve import problem_of
from encollapse.study.results import TrialResult
from encollapse.study.trials import kind_of

_OWN_AXES = ("bias_decay", "seed")


@dataclass(frozen=True, eq=False)
class Family:
    """Finished trials of one data set, model and encoding, ordered by bias decay, then seed.

    Attributes
    ----------
    panel : str
        What else varies in the study beside the encoding (data set, model, decays), which may be empty.
    encoding : str
        Name of the encoding with its options.
    trials : tuple of TrialResult
        At least one, all done.
    """

    panel: str
    encoding: str
    trials: tuple[TrialResult, ...]
    _paths: dict[tuple[Any, ...], ufm.BiasPath] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """Encoding and panel in one line."""
        return f"{self.encoding} · {self.panel}" if self.panel else self.encoding

    @property
    def bias_decays(self) -> list[float]:
        """Distinct bias decays, ascending."""
        return sorted({float(result.settings["bias_decay"]) for result in self.trials})

    @property
    def label_mean_norm(self) -> float:
        """Norm of the mean codeword ``|ē|``."""
        return float(np.linalg.norm(self.trials[0].record.label_mean))

    @property
    def counts(self) -> IntArray:
        """Samples of each class in the first trial, shape (K,)."""
        return counts_of(self.trials[0])

    @property
    def has_rare_classes(self) -> bool:
        """Whether some classes have less than half the samples of the largest."""
        return bool(rare_classes(self.counts).any())

    @property
    def trained(self) -> bool:
        """Whether there are networks among them, and not the exact minimizers alone."""
        return any(result.trained for result in self.trials)

    def at(self, decay: float) -> list[TrialResult]:
        """Trials at one bias decay, one a seed."""
        return [result for result in self.trials if float(result.settings["bias_decay"]) == decay]

    @cached_property
    def problem(self) -> ufm.Problem | None:
        """The unrestricted feature model of the first trial, or None where this release cannot state it.

        A network under plain or decoupled weight decay does not minimize it, so it has none either.
        """
        first = self.trials[0]
        if first.decay != "ufm":
            return None
        try:
            return problem_of(first.settings, self.counts)
        except UnsupportedError:
            return None

    @cached_property
    def critical(self) -> float | None:
        """Critical bias decay."""
        return None if self.problem is None else self.problem.critical_bias_decay()

    @cached_property
    def turning_point(self) -> tuple[float | None, str]:
        """The bias decay to mark in figures, and its name. See :meth:`encollapse.ufm.Problem.turning_point`."""
        return (None, "") if self.problem is None else self.problem.turning_point()

    def path(self, decays: Iterable[float]) -> ufm.BiasPath | None:
        """Exact minimizers along a grid of bias decays, solved once, or None where there is no theory."""
        problem = self.problem
        if problem is None:
            return None
        grid = tuple(float(decay) for decay in decays)
        # Networks of several kinds on one data set share their theory.
        stated = (self.encoding, problem.counts.tobytes(), problem.weight_decay, problem.feature_decay)
        key = (*stated, problem.loss, problem.features, problem.feature_dim, grid)
        if key not in self._paths:
            self._paths[key] = ufm.bias_path(problem, grid)
        return self._paths[key]


def counts_of(result: TrialResult) -> IntArray:
    """Samples of each class, shape (K,). Trials of one family may differ in their order."""
    return np.array(result.record.counts, dtype=np.int64)


def families(results: Iterable[TrialResult]) -> list[Family]:
    """Group finished trials. Families with most bias decays come first, then the study's order."""
    groups: dict[str, list[TrialResult]] = {}
    for result in results:
        groups.setdefault(kind_of(result.settings, _OWN_AXES), []).append(result)
    labels = panel_labels([group[0].settings for group in groups.values()])
    paths: dict[tuple[Any, ...], ufm.BiasPath] = {}

    def along(result: TrialResult) -> tuple[float, int]:
        return result.settings["bias_decay"], result.settings["seed"]

    made = [
        Family(panel, encoding_label(group[0].settings), tuple(sorted(group, key=along)), paths)
        for panel, group in zip(labels, groups.values(), strict=True)
    ]
    return sorted(made, key=lambda family: -len(family.bias_decays))


def by_panel(members: Iterable[Family]) -> dict[str, list[Family]]:
    """Group families that share a panel, in the order in which panels first occur."""
    grouped: dict[str, list[Family]] = {}
    for family in members:
        grouped.setdefault(family.panel, []).append(family)
    return grouped


def told_apart(members: Sequence[Family]) -> tuple[str, list[str]]:
    """What families that stand together share of what the study varies, and the shortest name for each among them."""
    kinds = [family.trials[0].settings for family in members]
    names = panel_labels(kinds, brief=True)
    if len({family.encoding for family in members}) > 1:
        names = [" · ".join(filter(None, (family.encoding, name))) for family, name in zip(members, names, strict=True)]
    parts, first = [_parts(settings) for settings in kinds], f", {members[0].panel}, "
    alike = [label for key, label in parts[0].items() if all(part.get(key) == label for part in parts)]
    shared = ", ".join(label for label in alike if f", {label}, " in first)
    return shared, [name or family.label for family, name in zip(members, names, strict=True)]


def panel_labels(kinds: Sequence[Mapping[str, Any]], *, brief: bool = False) -> list[str]:
    """Name what varies between settings beside the encoding, and how they train only if nothing else tells them apart.

    A `brief` name has only those options of a network that vary between the networks of its kind.
    """
    parts = [_parts(settings) for settings in kinds]
    if brief:
        parts = [part | {"model": _brief_model(settings, kinds)} for part, settings in zip(parts, kinds, strict=True)]
    encodings = [encoding_label(settings) for settings in kinds]

    def named(keys: list[str]) -> list[str]:
        return [", ".join(part[key] for key in keys if part.get(key)) for part in parts]

    keys = dict.fromkeys(key for part in parts for key in part)
    shown = [key for key in _PARTS if len({part[key] for part in parts}) > 1]
    for key in sorted(keys, key=lambda key: key not in _FIRST):
        apart = len(set(zip(encodings, named(shown), strict=True)))
        if len(set(zip(encodings, named([*shown, key]), strict=True))) > apart:
            shown.append(key)
    return named(shown)


def _brief_model(settings: Mapping[str, Any], kinds: Sequence[Mapping[str, Any]]) -> str:
    alike = [kind.get("model_options") or {} for kind in kinds if kind["model"] == settings["model"]]
    options = settings.get("model_options") or {}
    kept = {name: value for name, value in options.items() if any(other.get(name) != value for other in alike)}
    return model_label({**settings, "model_options": kept})


_PARTS = ("dataset", "model", "features", "weight_decay", "strength")
_FIRST = ("train.loss", "train.recipe", "train.decay", "train.optimizer", "train.batch_size")


def _parts(settings: Mapping[str, Any]) -> dict[str, str]:
    parts = {"strength": "features not regularized", **setting_labels(settings)}
    parts |= {f"train.{k}": _option(k, v) for k, v in settings.get("train", {}).items()}
    return {key: label for key, label in parts.items() if key not in ("encoding", "measure", *_OWN_AXES)}


def _option(name: str, value: Any) -> str:
    words = str(value).replace("_", " ")
    return words if name == "loss" else f"{name.replace('_', ' ')} {words}"


def measured_kind(trials: Iterable[TrialResult], *, plural: bool = True) -> str:
    """What was measured, in words: trained networks, exact minimizers found in their place, or both."""
    trained = {result.trained for result in trials}
    names = [name for name, there in (("trained network", True), ("exact minimizer", False)) if there in trained]
    return " and ".join(f"{name}s" for name in names) if plural else " or ".join(names)


def measured_kinds(members: Iterable[Family], *, plural: bool = True) -> str:
    """The same of the trials of families."""
    return measured_kind((result for family in members for result in family.trials), plural=plural)
