"""The runs view: trained networks of one study folder, as points on the theory's line."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encollapse._internal.json_values import plain
from encollapse._internal.typing import FloatArray
from encollapse.encodings import Encoding
from encollapse.errors import EncollapseError
from encollapse.explorer.state.fields import OWN
from encollapse.explorer.state.matrix_input import MOST_ENTRIES, as_text
from encollapse.explorer.state.state import PREFIX, State, address, parse
from encollapse.explorer.views import projection
from encollapse.explorer.views.solution import packed
from encollapse.geometry import ClassGeometry
from encollapse.study.families import families
from encollapse.study.results import ERRORS, Results, TrialResult, open_results
from encollapse.study.store.sqlite import FILE

_CURVES = ("loss", "stationarity", "mean_cosine", "accuracy", "nc1_trace_ratio", "nc2_etf_uncentered")

_BLUR = 0.05
"""Share of the longest class mean below which the global mean of a network in training is noise."""

_DRAWN = ("class_means", "weight", "samples")
"""Arrays of the frames that a picture is made of; studies of earlier releases have no samples."""

_RARELY = 4.0
"""While a study is running, how many times as long as reading it takes the last reading serves."""

_PATIENCE = 0.5
"""Seconds of reading trials after which an answer says how many have been read."""

_FACTS = (
    "status",
    "message",
    "stationarity",
    "loss",
    "predicted_loss",
    "relative_excess",
    "feature_decay",
    "threshold_t",
    "test_accuracy",
    "converged",
    "mean_cosine",
)
"""What of a trial's record the settings table lists."""


class RunsFolder:
    """A study folder that is read and never written. Nothing outside it is opened.

    A trial is found by its identity among those of the study, so no text from the page becomes a path.

    Raises
    ------
    FileNotFoundError, FileFormatError
        If the folder holds no study results.
    """

    def __init__(self, folder: str | Path) -> None:
        self.root = Path(folder).resolve()
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[dict[str, Any], State | None]] = {}
        self._encodings: dict[tuple[str, int, int], dict[str, str] | None] = {}
        self._stamp, self._read_at, self._cost = self._stamps(), -math.inf, 0.0
        self._results = open_results(self.root)
        self._summary: dict[str, Any] | None = None
        self._labels: tuple[Results | None, dict[str, str]] = None, {}

    def _stamps(self) -> list[tuple[int, int]]:
        """What changes with the results: size and time of the data base and of what waits to go into it."""
        files = [self.root / f"{FILE}{ending}" for ending in ("", "-wal")]
        return [(found.st_size, found.st_mtime_ns) for found in (file.stat() for file in files if file.exists())]

    def results(self) -> Results:
        """Results as they are now, or, of many trials, as they were a little while ago."""
        with self._lock:
            stamp, began = self._stamps(), time.monotonic()
            if stamp != self._stamp and began - self._read_at > _RARELY * self._cost:
                self._results, self._summary, self._stamp = open_results(self.root), None, stamp
                self._read_at = time.monotonic()
                self._cost = self._read_at - began
            return self._results

    def summary(self) -> dict[str, Any]:
        """The study and its trials: the point of each, its family, and how it ended.

        Of a large study there are as many points as could be read in a moment. ``read`` says how many of those
        that are ``done``, and the next call goes on from there.
        """
        found = self.results()
        with self._lock:
            if self._summary is not None and found is self._results:
                return self._summary
            summary = self._summary_of(found)
            if summary["read"] == summary["done"]:
                self._summary = summary
            return summary

    def points_of(self, state: State) -> list[dict[str, Any]]:
        """Points of the trials whose problem is that of the page, at any bias decay."""
        while (summary := self.summary())["read"] < summary["done"]:
            pass
        keys = {point["id"]: key for point, key in self._known.values()}
        return [point for point in summary["points"] if keys.get(point["id"]) == state.problem_key]

    def _summary_of(self, found: Results) -> dict[str, Any]:
        points = self._points(found.done)
        if self._labels[0] is not found:
            self._labels = found, {r.id: family.label for family in families(found.done) for r in family.trials}
        return {
            "name": found.study.name,
            "title": found.study.title,
            "folder": self.root.name,
            "done": len(found.done),
            "failed": len(found.failed),
            "missing": len(found.missing),
            "read": len(points),
            "points": [point | {"family": self._labels[1][point["id"]]} for point in points],
            "failures": [
                {"id": r.id, "label": r.label, "error": (r.error or "").strip().splitlines()[-1:]} for r in found.failed
            ],
        }

    def _points(self, done: Sequence[TrialResult]) -> list[dict[str, Any]]:
        """Points of the trials that have been read, and of one or more that had not."""
        until, points = math.inf, []
        for result in done:
            if (result.row.id, result.row.finished) in self._known:
                points.append(self._point(result))
            elif time.monotonic() < until:
                points.append(self._point(result))
                until = min(until, time.monotonic() + _PATIENCE)
        return points

    def _point(self, result: TrialResult) -> dict[str, Any]:
        key = (result.id, result.row.finished)
        if key not in self._known:
            record, settings, state = result.record, result.settings, self._state_of(result)
            point = {
                "id": result.id,
                "label": result.label,
                "seed": settings.get("seed"),
                "bias_decay": float(settings["bias_decay"]),
                "cosine": record.mean_cosine,
                "bias": self._bias_norm(result),
                "gram_error": record.value("gram_error"),
                "converged": record.converged,
            }
            self._known[key] = point, None if state is None else state.problem_key
        return self._known[key][0]

    def _bias_norm(self, result: TrialResult) -> float | None:
        try:
            _, measured = self.geometries(result)
        except (EncollapseError, OSError):
            return None
        return None if measured.bias is None else float(np.linalg.norm(measured.bias))

    def geometries(self, result: TrialResult) -> tuple[ClassGeometry | None, ClassGeometry]:
        """Read (predicted, measured) of a trial, from inside the folder only.

        Raises
        ------
        EncollapseError
            If the file is reached through a link that leaves the folder.
        """
        self._require_inside(result.arrays_path)
        return result.geometries()

    def _require_inside(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self.root):
            raise EncollapseError("a file of this trial lies outside the study folder")

    def trial(self, trial_id: str) -> dict[str, Any] | None:
        """Everything about one trial, or None if the study has none of that identity."""
        found = next((r for r in self.results().trials if r.id == trial_id), None)
        if found is None:
            return None
        settings = json.loads(json.dumps(plain(found.settings)))
        shared = {"id": found.id, "label": found.label, "settings": settings, "seconds": found.row.seconds}
        if not found.done:
            return shared | {"error": found.error or "failed"}
        record, history = found.record, self._history(found)
        return shared | {
            "record": {name: getattr(record, name) for name in _FACTS},
            "errors": {name: found.comparison_error(name) for name in ERRORS},
            "classes": [str(name) for name in record.classes],
            "history": history,
            "frames": self._frames(found, history),
            "address": self.address_of(found),
            **self._grams(found),
        }

    def _grams(self, found: TrialResult) -> dict[str, Any]:
        try:
            predicted, measured = self.geometries(found)
        except (EncollapseError, OSError) as error:
            return {"measured": None, "predicted": None, "reason": str(error)}
        return {
            "measured": packed(measured.cosines()),
            "predicted": None if predicted is None else packed(predicted.cosines()),
            "reason": "" if predicted is not None else "The theory has no method for this trial.",
        }

    def _history(self, found: TrialResult) -> dict[str, list[float | None]]:
        try:
            self._require_inside(found.history_path)
            return curves(found.history())
        except (EncollapseError, OSError):
            return {}

    def _frames(self, found: TrialResult, history: Mapping[str, Sequence[float | None]]) -> list[dict[str, Any]]:
        """Class means and samples epoch by epoch, each picture turned to the one after, or empty if none were kept."""
        try:
            self._require_inside(found.arrays_path)
            kept = found.frames()
        except (EncollapseError, OSError):
            return []
        if "class_means" not in kept:
            return []
        counts = np.asarray(found.record.counts, dtype=np.float64)
        pictures: list[dict[str, Any]] = []
        last: FloatArray | None = None
        nc1 = dict(zip(history.get("epoch", ()), history.get("nc1_trace_ratio", ()), strict=False))
        exact = {name: np.asarray(kept[name], dtype=np.float64) for name in _DRAWN if name in kept}
        # From the end backwards: the last frame is the tidy one, which the earlier ones are turned to.
        for i in reversed(range(len(kept["epoch"]))):
            drawn = projection.picture(
                exact["weight"][i],
                exact["class_means"][i],
                counts / counts.sum(),
                previous=last,
                blur=_BLUR,
                samples=exact["samples"][i] if "samples" in exact else None,
            )
            last, epoch = drawn.means, float(kept["epoch"][i])
            picture = {
                "epoch": epoch,
                "means": np.round(drawn.means, 5).tolist(),
                "rows": np.round(drawn.rows, 5).tolist(),
                "nc1": nc1.get(epoch),
            }
            if "samples" in exact:
                picture |= {"samples": np.round(drawn.samples, 3).tolist(), "of": kept["sample_labels"][i].tolist()}
            pictures.append(picture)
        return pictures[::-1]

    def address_of(self, result: TrialResult) -> dict[str, str] | None:
        """The controls that state a trial's problem, or None where the page cannot state it."""
        state = self._state_of(result)
        return None if state is None else address(state)

    def _state_of(self, result: TrialResult) -> State | None:
        """The page with a trial's problem, or None where it has no controls for it, or the theory no method."""
        settings, record = result.settings, result.record
        counts = record.counts
        if not counts or record.feature_decay is None or record.prediction is None:
            return None
        encoding = self._encoding(settings["encoding"])
        if encoding is None:
            return None
        values = {
            **encoding,
            "weight_decay": repr(float(settings["weight_decay"])),
            "feature_decay": repr(float(record.feature_decay)),
            "bias_decay": repr(float(settings["bias_decay"])),
            "features": str(settings.get("features", "linear")),
            "loss": str(settings.get("train", {}).get("loss", "mse")),
        }
        if len(set(counts)) == 1:
            values["samples"] = str(counts[0])
        else:
            values |= {"counts": "typed", "typed": ",".join(map(str, counts))}
        if encoding["encoding"] != OWN:
            values["classes"] = str(len(counts))
        state, errors = parse(values)
        return None if errors else state

    def _encoding(self, spec: Mapping[str, Any]) -> dict[str, str] | None:
        if "file" not in spec:
            options = spec.get("options", {})
            return {"encoding": str(spec["name"])} | {PREFIX + n: json.dumps(plain(v)) for n, v in options.items()}
        path = Path(spec["file"])
        try:
            self._require_inside(path)
            key = (str(path), path.stat().st_size, path.stat().st_mtime_ns)
            if key not in self._encodings:
                codewords = Encoding.load(path).codewords
                small = codewords.size <= MOST_ENTRIES
                self._encodings[key] = {"encoding": OWN, "matrix": as_text(codewords)} if small else None
            return self._encodings[key]
        except (EncollapseError, OSError):
            return None


def curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Curves along a training, by name. Those that were never defined are left out."""
    found = {"epoch": [row.get("epoch") for row in rows]}
    for name in _CURVES:
        values = [row.get(name) for row in rows]
        if any(value is not None for value in values):
            found[name] = values
    return found
