"""What is on the page as a Python script, a command line and a study file."""

from __future__ import annotations

import json
import math
import shlex
import tempfile
from pathlib import Path
from typing import Any

from encollapse._internal.typing import IntArray
from encollapse.encodings.registry import ENCODINGS
from encollapse.explorer.state.fields import OWN, Matrix, read
from encollapse.explorer.state.problem import counts_of, encoding, options_of, problem
from encollapse.explorer.state.state import State

ENCODING_FILE = "encoding.json"
"""What the page calls the file of an encoding that it offers to save."""

_SIZES = {"digits": 174, "mnist5k": 500}
"""Samples that the smallest class of each built-in data set has."""

_TEN = 10  # classes of every data set that has a size here


def snippets(state: State) -> dict[str, str]:
    """All three. A study file that cannot be written is a comment that says why.

    Raises
    ------
    FieldError
        If the state cannot be used.
    """
    problem(state)
    return {"python": python(state), "command": command(state), "study": study(state)}


def python(state: State) -> str:
    """Script that solves the same problem."""
    made = encoding(state)
    if state.encoding == OWN:
        rows = read("matrix", Matrix, state.matrix).tolist()
        listed = ",\n        ".join(repr(row) for row in rows)
        make = f"ec.encodings.Encoding(\n    [\n        {listed},\n    ]\n)"
    else:
        chosen = "".join(f", {name}={value!r}" for name, value in _options(state).items())
        make = f'ec.encodings.by_name("{state.encoding}", {made.num_classes}{chosen})'
    settings = "".join(f"    {name}={_python(value)},\n" for name, value in _settings(state).items())
    counts = _sizes(counts_of(state, made.num_classes))
    return (
        "import math\n\nimport encollapse as ec\n\n"
        f"encoding = {make}\n"
        f"problem = ec.ufm.Problem(\n    encoding,\n    {counts},\n{settings})\n"
        "solution = ec.ufm.solve(problem, throw=False)\n"
        "print(solution.status.message)\n"
        "print(solution.certificate)\n"
        "print(solution.geometry.cosines().round(3))\n"
        f"{_flow(state)}"
    ).replace("import math\n\n", "import math\n\n" if "math.inf" in settings else "")


def _flow(state: State) -> str:
    """Lines that follow gradient flow as the dynamics view does, where there is one."""
    if state.view != "dynamics" or state.depth != 1 or state.features != "linear":
        return ""
    return (
        "width = min(problem.code_dim, problem.num_classes, problem.feature_dim or problem.code_dim)\n"
        "end = 20 / min(problem.weight_decay, problem.feature_decay)\n"
        "flow = ec.ufm.flow(\n"
        f"    problem, [0.0, end], feature_dim=width, scale={state.start_scale!r}, seed={state.start_seed}\n)\n"
        "print(flow.losses - solution.loss)\n"
    )


def command(state: State) -> str:
    """Command line that prints the same solution."""
    made = encoding(state)
    words = ["encollapse", "predict", "-e"]
    if state.encoding == OWN:
        words.append(ENCODING_FILE)
    else:
        words.append(state.encoding)
        for name, value in _options(state).items():
            words += ["--option", f"{name}={json.dumps(value)}"]
    counts = _sizes(counts_of(state, made.num_classes))
    if isinstance(counts, int):
        if state.encoding != OWN:
            words += ["--classes", str(made.num_classes)]
        words += ["--samples-per-class", str(counts)]
    else:
        words += ["--counts", ",".join(map(str, counts))]
    for name, value in _settings(state).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return " ".join(shlex.quote(word) for word in words) + "\n"


def study(state: State) -> str:
    """Study file that trains networks around the present bias decay, or a comment why there is none."""
    if state.depth != 1:
        return "# Networks are trained with one linear layer on top of the features.\n"
    made = encoding(state)
    counts = counts_of(state, made.num_classes)
    options = {} if state.encoding == OWN else _options(state)
    name = f'{{ file = "{ENCODING_FILE}" }}' if state.encoding == OWN else f'"{state.encoding}"'
    if options:
        listed = ", ".join(f"{n} = {json.dumps(v, ensure_ascii=False)}" for n, v in options.items())
        name = f'{{ name = "{state.encoding}", options = {{ {listed} }} }}'
    dataset, note = _dataset(counts)
    decays = sorted({0.0, state.bias_decay, math.inf})
    chosen = {"loss": None if state.loss == "mse" else f'"{state.loss}"', "feature_dim": state.feature_dim}
    listed = ", ".join(f"{n} = {v}" for n, v in chosen.items() if v is not None)
    train = f"train = {{ {listed} }}\n" if listed else ""
    return (
        'name = "explored"\n'
        f'title = "{state.encoding} with {made.num_classes} classes"\n'
        'description = "Written by the explorer."\n\n'
        "[[runs]]\n"
        f'dataset = {{ name = "{dataset}", counts = {_sizes(counts)} }}{note}\n'
        f"encoding = {name}\n"
        f'features = "{state.features}"\n'
        f"weight_decay = {float(state.weight_decay)!r}\n"
        f"feature_decay = {float(state.feature_decay)!r}\n"
        f"bias_decay = [{', '.join(map(repr, decays))}]\n"
        "seeds = [0, 1]\n"
        "measure = { frames = true }\n"
        f"{train}"
    )


def encoding_file(state: State) -> str:
    """Encoding of a state as the text of a file that ``Encoding.load`` and every command read."""
    return saved(encoding(state))


def saved(made: Any) -> str:
    """Text of an encoding's ``.json`` file."""
    with tempfile.TemporaryDirectory() as folder:
        return Path(made.save(Path(folder) / ENCODING_FILE)).read_text(encoding="utf-8")


def _dataset(counts: IntArray) -> tuple[str, str]:
    fitting = [name for name, most in _SIZES.items() if len(counts) == _TEN and counts.max() <= most]
    if fitting:
        return fitting[0], ""
    return "data.npz", f"  # put here a data set of {len(counts)} classes: arrays inputs and labels"


def _settings(state: State) -> dict[str, Any]:
    values: dict[str, Any] = {
        "weight_decay": state.weight_decay,
        "feature_decay": state.feature_decay,
        "bias_decay": state.bias_decay,
    }
    neutral = State()
    for name in ("loss", "depth", "features", "feature_dim"):
        if getattr(state, name) != getattr(neutral, name):
            values[name] = getattr(state, name)
    return values


def _options(state: State) -> dict[str, Any]:
    """Options as the library takes them. Those the page filled in from the example are written out too."""
    entry = ENCODINGS[state.encoding]
    given = options_of(entry, state.options)
    example = entry.example_for(state.classes)
    values = {n: v for n, v in example.items() if n in entry.options} | given
    return {n: v.tolist() if hasattr(v, "tolist") else v for n, v in values.items()}


def _sizes(counts: IntArray) -> int | list[int]:
    listed = [int(n) for n in counts]
    return listed[0] if len(set(listed)) == 1 else listed


def _python(value: Any) -> str:
    return "math.inf" if isinstance(value, float) and math.isinf(value) else repr(value)
