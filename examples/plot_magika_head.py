r"""
A deployed classifier: magika
=============================

`magika <https://github.com/google/magika>`_ tells the type of a file from its bytes: a network of 3 MB with 214
classes and 512 features, in daily use. How far have its features collapsed, and is its last layer the frame that the
theory would put there? Here it reads files that every Python installation has, labeled by what they are.
"""

from __future__ import annotations

import collections
import importlib.util
import json
import os
import pathlib
import site
import sysconfig
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import encollapse as ec
from encollapse.report.style import BLUE, DIVERGING, VERMILLION, house_style

available = importlib.util.find_spec("magika") is not None
if not available:
    print("This example needs the package magika (pip install magika); without it only random directions are drawn.")

# %%
# The model is an ONNX file, which is a protocol buffer. A few lines read its last layer from it and make the input of
# that layer, the features, a second output.


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Fields of a protocol buffer: (number, value), where a value is a whole number or bytes."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, number()
        else:
            size = {1: 8, 5: 4}.get(tag & 7) or number()
            yield tag >> 3, message[at : at + size]
            at += size


def packed(field: int, content: bytes) -> bytes:
    """A field that holds bytes."""
    size, head = len(content), bytearray([field << 3 | 2])
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes([*head, size]) + content


def last_layer(model: bytes) -> tuple[str, np.ndarray, np.ndarray]:
    """Name of its input, weight (q, d) and bias (q,)."""
    graph = next(value for field, value in fields(model) if field == 7)
    arrays, product, offset = {}, None, None
    for field, value in fields(graph):
        parts = list(fields(value)) if field in (1, 5) else []
        if field == 5:
            tensor = dict(parts)
            shape = [size for number, size in parts if number == 1]
            if tensor.get(2) == 1 and 9 in tensor:
                arrays[tensor[8].decode()] = np.frombuffer(tensor[9], np.float32).reshape(shape)
        elif field == 1:
            inputs = [part.decode() for number, part in parts if number == 1]
            kind, result = (next(part.decode() for number, part in parts if number == n) for n in (4, 2))
            if kind == "MatMul":
                product, offset, made = inputs, None, result
            elif kind == "Add" and product and made in inputs and offset is None:
                offset = next(name for name in inputs if name != made)
    return product[0], arrays[product[1]].T, arrays[offset].ravel()


def with_output(model: bytes, name: str) -> bytes:
    """The model with one more output."""
    return b"".join(
        packed(7, value + packed(12, packed(1, name.encode()))) if field == 7
        # Whole numbers of the header are versions below 128: one byte.
        else bytes([field << 3, value]) if isinstance(value, int) else packed(field, value)
        for field, value in fields(model)
    )  # fmt: skip


# %%
# Files of the standard library and the installed packages, labeled by their ending: source, headers, fonts, images,
# compiled Python, whatever there is twenty times or more, and 40 of each. An ending is not always the truth (a ``.h``
# may be C++), so the accuracies below are of the labels as much as of the network.

endings = {
    ".py": "python", ".pyc": "pythonbytecode", ".h": "c", ".c": "c", ".hpp": "cpp", ".cpp": "cpp", ".cuh": "cpp",
    ".so": "elf", ".json": "json", ".js": "javascript", ".css": "css", ".html": "html", ".xml": "xml",
    ".svg": "svg", ".png": "png", ".gif": "gif", ".jpg": "jpeg", ".ttf": "ttf", ".toml": "toml",
    ".yaml": "yaml", ".yml": "yaml", ".md": "markdown", ".rst": "rst", ".csv": "csv", ".npy": "npy", ".npz": "npz",
    ".zip": "zip", ".gz": "gzip", ".whl": "zip", ".ipynb": "ipynb", ".tex": "latex", ".sh": "shell", ".f90": "fortran",
    ".cmake": "cmake", ".ts": "typescript", ".wav": "wav", ".pdf": "pdf", ".exe": "pebin", ".parquet": "parquet",
    ".mo": "mo", ".woff2": "woff2", ".woff": "woff", ".scss": "scss", ".sql": "sql", ".ini": "ini", ".cu": "c",
    ".java": "java", ".rb": "ruby", ".go": "go", ".tar": "tar", ".bz2": "bzip", ".xz": "xz", ".lua": "lua",
}  # fmt: skip


def labeled_files(most: int = 40, least: int = 20, looked_at: int = 400) -> dict[str, list[pathlib.Path]]:
    """Paths by type, in an order that does not depend on the file system."""
    found: dict[str, list[pathlib.Path]] = {}
    for root in dict.fromkeys([sysconfig.get_path("stdlib"), *site.getsitepackages()]):
        for folder, inner, files in os.walk(root):
            inner.sort()
            for name in sorted(files):
                path = pathlib.Path(folder, name)
                kind = endings.get(path.suffix)
                if kind and len(found.setdefault(kind, [])) < looked_at and path.stat().st_size >= 300:
                    found[kind].append(path)
    shuffled = np.random.default_rng(0)
    return {
        kind: [paths[i] for i in shuffled.permutation(len(paths))[:most]]
        for kind, paths in sorted(found.items())
        if len(paths) >= least
    }


# %%
# Run the network on them, as magika does: the first and the last 1024 bytes without white space at the ends.


def measured() -> tuple[ec.measure.Collapse, list[str], np.ndarray]:
    """The measurement, names of the classes, and the weight."""
    import magika
    import onnxruntime

    folder = next((pathlib.Path(magika.__file__).parent / "models").glob("standard_*"))
    config = json.loads((folder / "config.min.json").read_text())
    names = config["target_labels_space"]
    model = (folder / "model.onnx").read_bytes()
    name, weight, bias = last_layer(model)
    session = onnxruntime.InferenceSession(with_output(model, name), providers=["CPUExecutionProvider"])

    def tokens(path: pathlib.Path) -> list[int]:
        content = path.read_bytes()
        block, size, empty = config["block_size"], config["beg_size"], config["padding_token"]
        start = list(content[:block].lstrip()[:size])
        end = list(content[-block:].rstrip()[-size:])
        return start + [empty] * (size - len(start)) + [empty] * (size - len(end)) + end

    own = magika.Magika()
    features, labels, probabilities = [], [], []
    for kind, paths in labeled_files().items():
        if kind not in names:
            continue
        probability, feature = session.run(None, {"bytes": np.array([tokens(p) for p in paths], np.int32)})
        assert own.identify_path(paths[0]).dl.label == names[probability[0].argmax()]
        features.append(feature.reshape(len(paths), -1))
        probabilities.append(probability)
        labels += [names.index(kind)] * len(paths)
    features, probabilities = np.concatenate(features), np.concatenate(probabilities)
    # What was taken out is the last layer: with it, the probabilities come out again.
    outputs = features @ weight.T + bias
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    np.testing.assert_allclose(shifted / shifted.sum(axis=1, keepdims=True), probabilities, atol=1e-4)
    # Of the 214 classes only those that there are files of: the classifier then chooses between the same types as
    # the nearest class mean does.
    types, own_labels = np.unique(labels, return_inverse=True)
    collapse = ec.measure.collapse(features, own_labels, weight=weight[types], bias=bias[types])
    print(f"accuracy between all {len(names)} types: {np.mean(outputs.argmax(axis=1) == labels):.3f}")
    wrong = [
        (names[labels[i]], names[outputs[i].argmax()]) for i in range(len(labels)) if outputs[i].argmax() != labels[i]
    ]
    for (label, decision), times in collections.Counter(wrong).most_common(6):
        print(f"  labeled {label}, decided {decision}: {times} times")
    return collapse, [names[k] for k in types], weight


def cosines(rows: np.ndarray) -> np.ndarray:
    """Cosines between rows about their mean."""
    unit = rows - rows.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return unit @ unit.T


if available:
    collapse, names, weight = measured()
    print(collapse)
    means = collapse.geometry.cosines(centered=True)
    rows = cosines(weight.astype(float))[np.triu_indices(len(weight), 1)]
    with house_style("magika"):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4.2), layout="constrained")
        image = left.imshow(means, cmap=DIVERGING, vmin=-1, vmax=1)
        left.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        left.set_yticks(range(len(names)), names, fontsize=6)
        left.set_title("cosines of centered class means")
        figure.colorbar(image, ax=left, shrink=0.8)
        bins = np.linspace(-0.5, 1, 61)
        right.hist(rows, bins, density=True, color=BLUE, alpha=0.6, label="rows of the last layer, all 214")
        pairs = means[np.triu_indices(len(means), 1)]
        right.hist(pairs, bins, density=True, histtype="step", color=VERMILLION, label=f"class means, {len(means)}")
        right.axvline(-1 / 213, color="0.3", linewidth=0.8)
        right.set(xlabel="cosine", ylabel="density")
        right.legend()
else:
    random = cosines(np.random.default_rng(0).standard_normal((214, 512)))[np.triu_indices(214, 1)]
    with house_style("magika"):
        figure, axes = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
        axes.hist(random, 61, density=True, color=BLUE, alpha=0.6, label="214 random directions of 512")
        axes.axvline(-1 / 213, color=VERMILLION, label="every pair of a simplex")
        axes.set(
            xlabel="cosine", ylabel="density", ylim=(0, 11), title="what a last layer of that size is compared with"
        )
        axes.legend()
plt.show()

# %%
# What the numbers say. Of the variance of the features about half is within the types of file, so by any form of NC1
# this network has not collapsed on these files. In angle the class means come near a simplex all the same, and the
# nearest of them is right for nearly every file (of those that made the means: with 40 files a type and 512
# dimensions that flatters). The last layer is not the class means: their correlation is about a half, where 1 would
# be self-duality. The cosines between its 214 rows spread half as wide again as those of random directions in 512
# dimensions, :math:`1/\sqrt{512}`. In a simplex they would not spread at all. Disagreements with the endings are led
# by files whose ending does not tell the type, such as HTML templates, which magika calls Jinja or Twig.

if available:
    correlation = 1 - collapse.nc3_self_duality**2 / 2
    print(f"variance within types             {collapse.nc1_normalized:.3f}")
    print(f"nearest class mean is right       {collapse.ncc_accuracy:.3f}")
    print(f"correlation of W and class means  {correlation:.3f}")
    print(f"cosines of the last layer's rows  {np.std(rows):.3f}, of random directions {512**-0.5:.3f}")
    assert 0.25 < collapse.nc1_normalized < 0.75
    assert collapse.ncc_accuracy > 0.9
    assert 0.2 < correlation < 0.8
    assert np.std(rows) < 2 * 512**-0.5
