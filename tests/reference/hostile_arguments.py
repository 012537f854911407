"""Calls of public functions with values that no argument can have, and what they end in."""

import inspect
import math
import os
import pickle
import select
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import encollapse as ec
from encollapse.errors import EncollapseError

K, D, Q, N = 5, 7, 3, 23
DECAYS: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-3}


@dataclass(frozen=True)
class Target:
    """A public function, and arguments that it takes."""

    name: str
    call: Callable[..., Any]
    good: dict[str, Any]


class _Odd:
    """An object that answers nothing."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    def __repr__(self) -> str:
        return "<odd>"


@cache
def hostile() -> list[Any]:
    """Values of every type, few of which fit any argument."""
    rows = np.random.default_rng(1).standard_normal((N, D))
    numbers: list[Any] = [0, 1, -1, 2, 3, 2**31, 2**31 - 1, 2**53, 2**63, -(2**63), 10**30, 10**400, True, False]
    reals = [0.0, -0.0, 0.5, -1.0, 1e-300, 5e-324, 1e-38, 1e38, 1e150, 1e300, math.inf, -math.inf, math.nan, 1.0]
    others = [1j, Decimal("NaN"), Decimal(1), Fraction(1, 3), np.float32(2), np.int8(-3), np.bool_(True), np.array(3)]
    words: list[Any] = [None, "", "x", "1", "nan", "mse", "\ud800", "a\0b", b"bytes", "simplex", "x" * 300]
    nested: list[Any] = [
        [],
        (),
        {},
        set(),
        [[]],
        [1, 2, 3],
        [1, [2]],
        ["a"],
        [None],
        {"a": 1},
        {1: 2},
        [[1.0, 2.0]],
        range(5),
    ]
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    arrays: list[Any] = [
        np.zeros(0), np.zeros((0, D)), np.zeros((N, 0)), np.zeros(K), np.zeros((K, K)), np.zeros((N, D)), rows,
        rows.astype(np.float16), rows * 1e30, rows * 1e38, rows * 1e200, rows * 1e-300, np.full((N, D), np.nan),
        np.full((N, D), np.inf), np.ones((2, 2, 2)), np.array(["a", "b"]), np.array([None, 1]), np.eye(K),
        -np.ones(N, int), np.arange(N), np.full(N, 2**40), np.zeros(N, bool), np.ones(N, complex), np.zeros(N, "M8[s]"),
        np.array([2**64 - 1], np.uint64), np.ma.masked_array([1.0, 2.0], [True, False]), np.zeros(3, [("a", "f4")]),
        torch.zeros(N, D), torch.zeros(N, D, requires_grad=True), torch.zeros(N, dtype=torch.int64), torch.tensor(1.5),
        torch.zeros(3, device="meta"), torch.zeros(2, dtype=torch.complex64), torch.zeros(N, D).to_sparse(),
    ]  # fmt: skip
    objects: list[Any] = [object(), _Odd(), len, int, Exception("x"), Path("no/such/file.npy"), iter([1]), slice(3)]
    objects += [ec.encodings.one_hot(K), ec.encodings.random(K, Q), lambda: None, type, NotImplemented, ...]
    return [*numbers, *reals, *others, *words, *nested, cyclic, *arrays, *objects]


def targets() -> list[Target]:
    """Public functions of the rooms that take numbers and arrays."""
    return [*_encodings(), *_theory(), *_geometry(), *_measure(), *_settings()]


def _encodings() -> Iterator[Target]:
    e = ec.encodings
    sizes = {"num_classes": K}
    for name in ("one_hot", "one_vs_rest", "hadamard", "ordinal", "circular", "simplex"):
        yield Target(name, getattr(e, name), sizes | {"classes": None})
    yield Target("simplex wide", e.simplex, sizes | {"code_dim": 6})
    yield Target("label_smoothing", e.label_smoothing, sizes | {"smoothing": 0.1, "classes": None})
    yield Target("scaled_one_hot", e.scaled_one_hot, sizes | {"on": 2.0, "off": -1.0})
    for name in ("error_correcting", "spherical", "random"):
        yield Target(name, getattr(e, name), sizes | {"code_dim": 4, "seed": 0, "classes": None})
    yield Target("hierarchical", e.hierarchical, {"tree": [["a", "b"], ["c", "d"]], "classes": None})
    yield Target("from_similarity", e.from_similarity, {"S": np.eye(K), "code_dim": None, "classes": None})
    yield Target("multi_label", e.multi_label, {"label_sets": [[0], [1, 2]], "num_labels": 3, "classes": None})
    yield Target("from_targets", e.from_targets, {"targets": np.arange(6.0)})
    yield Target("by_name", e.by_name, {"name": "random", "num_classes": K, "code_dim": 4, "seed": 1})
    words = {"name": "mine", "classes": list("abcde"), "designed_for": None}
    yield Target("Encoding", e.Encoding, {"codewords": np.eye(K)} | words)
    yield Target("Encoding.load", e.Encoding.load, {"path": "no.json"})
    for made in (e.one_hot(K), e.random(K, Q), e.simplex(K)):
        rows = np.zeros((2, made.code_dim))
        yield Target(f"{made.name}.mean", made.mean, {"priors": None})
        yield Target(f"{made.name}.centered", made.centered, {"priors": None})
        yield Target(f"{made.name}.combine", made.combine, {"weights": np.ones(K)})
        yield Target(f"{made.name}.encode", made.encode, {"labels": [0, 1]})
        yield Target(f"{made.name}.decode", made.decode, {"outputs": rows, "loss": "mse"})
        yield Target(f"{made.name}.save", made.save, {"path": "/proc/none/a.json"})


def _solved(*arguments: Any, **options: Any) -> Any:
    return ec.ufm.solve(ec.ufm.Problem(*arguments, **options), throw=False)


def _asked(name: str) -> Callable[..., Any]:
    def ask(*arguments: Any, **options: Any) -> Any:
        return getattr(ec.ufm.Problem(*arguments, **options), name)()

    return ask


def _theory() -> Iterator[Target]:
    u = ec.ufm
    decays = DECAYS | {"bias_decay": 0.1}
    stated: dict[str, Any] = {"encoding": ec.encodings.one_hot(K), "counts": 10} | decays
    more = {"feature_dim": None, "loss": "mse", "depth": 1, "features": "linear", "feature_mean_decay": None}
    problem = u.Problem(**stated)
    found = u.solve(problem)
    w, m, b = found.parameters(D)
    rows = np.random.default_rng(0).standard_normal((N, D))
    labels = np.arange(N) % K
    yield Target("Problem", u.Problem, stated | more | {"class_weights": None})
    yield Target("solve(Problem)", _solved, stated | more)
    yield Target("solve(CE)", _solved, stated | {"loss": "cross_entropy"})
    for name in ("critical_bias_decay", "practical_bias_decay", "explain"):
        yield Target(name, _asked(name), stated | {"features": "linear", "loss": "mse"})
    yield Target("solve", u.solve, {"problem": problem, "throw": True})
    yield Target("select_method", u.select_method, {"problem": problem})
    yield Target("bias_path", u.bias_path, {"problem": problem, "bias_decays": [0.0, 0.5, math.inf]})
    yield Target("objective", u.objective, {"problem": problem, "weight": w, "class_means": m, "bias": b})
    prices = DECAYS | {"bias_decay": math.inf}
    yield Target("design", u.design, {"target_gram": np.eye(K), "counts": 10} | prices | {"code_dim": None})
    yield Target("scale_target", u.scale_target, {"target_gram": np.eye(K), "counts": 10} | DECAYS)
    split = {"features": rows, "labels": labels, "weight": np.ones((K, D)), "bias": np.zeros(K)}
    of_rows = u.Problem(ec.encodings.one_hot(K), np.bincount(labels), **decays)
    yield Target("excess", u.excess, {"problem": of_rows} | split)
    gains = {"weight_decay": 1e-2, "gain_decay": 1e-2, "offset_decay": None, "bias_decay": 0.0}
    normed = {"encoding": ec.encodings.one_hot(K), "counts": 10} | gains
    yield Target("batch_norm_problem", u.batch_norm_problem, normed | {"features": "linear", "loss": "mse"})
    yield Target("sample_norm_problem", u.sample_norm_problem, normed | {"kind": "rms", "feature_dim": 9})
    tail = {"encoding": ec.encodings.one_hot(K), "labels": labels, "activations": rows}
    tail |= {"weight_decay": 1e-2, "inner_decay": 1e-2, "inner_bias_decay": math.inf, "bias_decay": 0.0, "layers": 2}
    yield Target("TailProblem", u.TailProblem, tail | {"loss": "mse"})
    yield Target("parameters", found.parameters, {"feature_dim": 7, "seed": 0})


def _geometry() -> Iterator[Target]:
    geometry = ec.ufm.solve(ec.ufm.Problem(ec.encodings.one_hot(K), 10, weight_decay=5e-3, feature_decay=1e-3)).geometry
    gram = np.eye(K)
    made = {"feature_gram": gram, "classifier_gram": gram, "class_outputs": gram, "bias": None}
    yield Target("ClassGeometry", ec.ClassGeometry, made | {"counts": np.full(K, 3), "within": None})
    yield Target("cosines", geometry.cosines, {"centered": False})
    yield Target("cosine", geometry.cosine, {"k": 0, "l": 1})
    yield Target("norm", geometry.norm, {"k": 0})
    yield Target("distance", geometry.distance, {"target": "simplex_etf", "centered": False})
    yield Target("simplex_etf_gram", ec.simplex_etf_gram, {"num_classes": K})
    yield Target("orthogonal_gram", ec.orthogonal_gram, {"num_classes": K})
    yield Target("compare", ec.compare, {"predicted": geometry, "measured": geometry})


def _measure() -> Iterator[Target]:
    m, s = ec.measure, ec.metrics
    rng = np.random.default_rng(0)
    rows, labels = rng.standard_normal((N, D)), np.arange(N) % K
    pair = {"features": rows, "labels": labels}
    head: dict[str, Any] = {"weight": rng.standard_normal((K, D)), "bias": np.zeros(K), "encoding": None}
    more = {"num_classes": K, "convention": "default", "ignore_index": None, "interval": None}
    yield Target("collapse", m.collapse, pair | head | more)
    yield Target("from_features", s.ClassStatistics.from_features, pair | {"num_classes": None})
    statistics = s.ClassStatistics.from_features(rows, labels)
    known: dict[str, Any] = {"statistics": statistics, "weight": head["weight"], "bias": head["bias"], "loss": "mse"}
    known |= {"mean_codeword": np.full(K, 0.2), "decisions": s.Decisions.of(labels, labels, labels)}
    known["decomposition"] = s.mse_decomposition(statistics, head["weight"], head["bias"], np.eye(K))
    known["convention"] = "default"
    for name, found in s.METRICS.items():
        taken = {key: known[key] for key in inspect.signature(found.function).parameters if key in known}
        yield Target(f"metrics.{name}", getattr(s, found.function.__name__), taken)
    split = {key: known[key] for key in ("statistics", "weight", "bias")} | {"codewords": np.eye(K)}
    yield Target("mse_decomposition", s.mse_decomposition, split)
    for name in ("rank_me", "effective_rank", "stable_rank", "participation_ratio"):
        (first, *_) = inspect.signature(getattr(s, name)).parameters
        yield Target(name, getattr(s, name), {first: rows})
    moments = m.ClassMoments(K, D).update(rows, labels)
    yield Target(
        "ClassMoments", m.ClassMoments, {"num_classes": K, "feature_dim": D, "device": "cpu", "covariance": True}
    )
    yield Target("update", lambda **given: m.ClassMoments(K, D).update(**given), pair)
    yield Target("merge", lambda **given: m.ClassMoments(K, D).merge(**given), {"other": moments})
    yield Target("load_state_dict", m.ClassMoments(K, D).load_state_dict, {"state": moments.state_dict()})
    yield Target("moments.collapse", moments.collapse, head | {"convention": "default"})
    yield Target("moments.load", m.ClassMoments.load, {"path": "no.safetensors"})
    yield Target("load_array", m.load_array, {"path": "no.npy", "key": None})
    yield Target("measure_shards", m.measure_shards, {"features": "no", "labels": None, "num_classes": None})
    yield Target(
        "RegressionCollapse",
        m.regression_collapse,
        {"features": rows, "targets": rows[:, :2], "weight": np.ones((2, D))},
    )
    mixture = {"num_classes": 3, "dim": 4, "samples_per_class": 5, "separation": 2.0, "seed": 0}
    yield Target("gaussian_mixture", ec.data.gaussian_mixture, mixture)
    yield Target("Split", ec.data.Split, {"inputs": rows, "labels": labels, "clean_labels": None, "rows": None})
    spec = {"spec": {"kind": "exponential", "ratio": 10}, "available": np.full(K, 30), "seed": 0}
    yield Target("class_counts", ec.data.class_counts, spec)
    yield Target("data.load", ec.data.load, {"name_or_path": "gaussian-mixture"} | mixture)


def _settings() -> Iterator[Target]:
    from encollapse.train.settings import DEFAULTS

    needed = {"weight_decay": 5e-3, "feature_decay": 1e-3, "bias_decay": 0.1, "epochs": 2}
    yield Target("Settings", ec.train.Settings, {**DEFAULTS, **needed})


@dataclass
class Verdict:
    """What the calls ended in."""

    calls: int = 0
    refused: int = 0
    fine: int = 0
    raw: Counter[str] = field(default_factory=Counter)
    """Exceptions of others, by function, kind and place."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Infinity or NaN under a status that says there is a minimum."""
    hangs: list[str] = field(default_factory=list)
    example: dict[str, str] = field(default_factory=dict)
    """One call of each."""


def drawn(every: list[Target], index: int, seed: int) -> tuple[Target, dict[str, Any]]:
    """The call of a number: a function in turn, one or two of its arguments replaced."""
    rng = np.random.default_rng([seed, index])
    target, values = every[index % len(every)], hostile()
    names = list(target.good)
    picked = rng.permutation(len(names))[: 1 + int(rng.random() < 0.2)]
    return target, target.good | {names[i]: values[int(rng.integers(len(values)))] for i in picked}


def judge(target: Target, given: dict[str, Any]) -> tuple[str, str]:
    """What a call ends in, as a word and a place."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = target.call(**given)
    except EncollapseError:
        return "refused", ""
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError | IsADirectoryError):
            return "refused", ""
        return "raw", _place(error)
    except BaseException as error:
        return "raw", _place(error)
    if isinstance(found, ec.ufm.Solution) and found.status is ec.ufm.Status.OPTIMAL:
        values = np.concatenate([[found.loss], found.bias.ravel(), found.singular_values.ravel()])
        if not np.isfinite(values).all():
            return "wrong", f"loss {found.loss}"
    return "fine", ""


def _place(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/encollapse/" in f.filename]
    at = f"{frames[-1].filename.rpartition('/encollapse/')[2]}:{frames[-1].lineno}" if frames else "call"
    try:
        said = str(error)[:90]
    except Exception:
        said = "?"
    return f"{type(error).__name__} at {at}: {said!r}"


def shown(target: Target, given: dict[str, Any]) -> str:
    """A call as text."""
    changed = {name: value for name, value in given.items() if value is not target.good[name]}

    def text(value: Any) -> str:
        shape = getattr(value, "shape", None)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**64:
            return f"10**{len(str(abs(value))) - 1}" if abs(value) < 10**4000 else "a huge integer"
        return repr(value)[:50] if not shape else f"{type(value).__name__}{tuple(shape)} {getattr(value, 'dtype', '')}"

    return f"{target.name}({', '.join(f'{name}={text(value)}' for name, value in changed.items())})"


def campaign(
    calls: int, seed: int = 0, *, seconds: float = 20.0, memory: int = 4 * 10**9, show: bool = False
) -> Verdict:
    """Make so many calls in child processes, which are killed and begun anew where one takes longer than `seconds`."""
    verdict, every, index = Verdict(), targets(), 0
    hostile()
    while index < calls:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _work(writer, every, index, calls, seed, memory)
        os.close(writer)
        index = _listen(reader, every, index, calls, seed, seconds, verdict, show=show)
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return verdict


def _work(writer: int, every: list[Target], index: int, calls: int, seed: int, memory: int) -> None:
    """The calls from `index` on, each answered by a line; ends the process."""
    import resource

    try:
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        for i in range(index, calls):
            target, given = drawn(every, i, seed)
            answer = pickle.dumps((i, *judge(target, given)))
            os.write(writer, len(answer).to_bytes(4, "big") + answer)
    finally:
        os._exit(0)


def _listen(
    reader: int, every: list[Target], index: int, calls: int, seed: int, seconds: float, verdict: Verdict, *, show: bool
) -> int:
    """Answers of one child; returns the number of the call that another one has to begin with."""

    def take(size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            ready, _, _ = select.select([reader], [], [], seconds)
            part = os.read(reader, size - len(data)) if ready else b""
            if not part:
                return None if ready else b""
            data += part
        return data

    while index < calls:
        head = take(4)
        if not head:
            target, given = drawn(every, index, seed)
            what = "took too long" if head == b"" else "ended its process"
            verdict.hangs.append(f"{shown(target, given)} {what}")
            verdict.calls += 1
            return index + 1
        body = take(int.from_bytes(head, "big"))
        if not body:
            return index
        index, word, place = pickle.loads(body)
        target, given = drawn(every, index, seed)
        verdict.calls += 1
        if word in ("raw", "wrong"):
            key = f"{target.name}: {place}"
            getattr(verdict, word)[key] += 1
            verdict.example.setdefault(key, shown(target, given))
        else:
            setattr(verdict, word, getattr(verdict, word) + 1)
        index += 1
        if show and index % 1000 == 0:
            print(f"{index} calls, {verdict.raw.total()} raw, {time.process_time():.0f} s", file=sys.stderr)
    return index
