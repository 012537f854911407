"""Trees of classes, read from nested lists or from a list of parents."""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from encollapse.errors import ArgumentError, ArgumentTypeError


class Tree(NamedTuple):
    """Nodes by number: the parent (-1 at the root) and depth of each, then the leaves and their names."""

    parents: list[int]
    depths: list[int]
    leaves: list[int]
    names: list[str]
    named: bool


def read_tree(tree: Any) -> Tree:
    """Read nested lists of names, nested lists of labels, or a flat list of parents.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As :func:`encollapse.encodings.hierarchical` states.
    """
    if isinstance(tree, np.ndarray):
        tree = tree.tolist()
    if not isinstance(tree, list | tuple):
        raise ArgumentTypeError(
            f"tree: expected nested lists of class names or a list of parents, got {tree!r} of type "
            f"{type(tree).__name__}"
        )
    if not tree:
        raise ArgumentError("tree: expected at least two leaves, got an empty list")
    if all(node is None or _is_number(node) for node in tree):
        return _from_parents([-1 if node is None else int(node) for node in tree])
    return _from_nested(tree)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _from_nested(tree: list[Any] | tuple[Any, ...]) -> Tree:
    # An explicit stack: nesting deeper than Python's recursion limit is read too.
    parents, depths, leaves, found = [-1], [0], [], []
    open_lists: list[tuple[int, Any, Iterator[Any]]] = [(0, tree, iter(tree))]
    inside = {id(tree)}
    while open_lists:
        parent, current, children = open_lists[-1]
        for child in children:
            node = len(parents)
            parents.append(parent)
            depths.append(len(open_lists))
            if not isinstance(child, list | tuple):
                leaves.append(node)
                found.append(child)
                continue
            if not child:
                raise ArgumentError("tree: an inner list is empty; leave it out or name the classes below it")
            if id(child) in inside:
                raise ArgumentError("tree: a list contains itself; a tree has no cycles")
            inside.add(id(child))
            open_lists.append((node, child, iter(child)))
            break
        else:
            inside.remove(id(current))
            open_lists.pop()
    if all(isinstance(leaf, str) for leaf in found):
        return Tree(parents, depths, leaves, _distinct_names(found), named=True)
    if all(_is_number(leaf) for leaf in found):
        order = _label_order([int(leaf) for leaf in found])
        return Tree(parents, depths, [leaves[i] for i in order], [str(k) for k in range(len(order))], named=False)
    odd = [leaf for leaf in found if not isinstance(leaf, str) and not _is_number(leaf)]
    if not odd:
        raise ArgumentTypeError("tree: some leaves are names and others are numbers; use one kind")
    raise ArgumentTypeError(
        f"tree: expected class names or labels as leaves, got {odd[0]!r} of type {type(odd[0]).__name__}"
    )


def _distinct_names(names: list[str]) -> list[str]:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ArgumentError(f"tree: the class {name!r} is named {count} times; a class is one leaf")
    if "" in names:
        raise ArgumentError("tree: a class has an empty name")
    return names


def _label_order(labels: list[int]) -> list[int]:
    if sorted(labels) != list(range(len(labels))):
        raise ArgumentError(
            f"tree: {len(labels)} leaves that are numbers are the labels 0 to {len(labels) - 1}, each once; "
            f"got {sorted(labels)}"
        )
    return [int(i) for i in np.argsort(labels)]


def _from_parents(parents: list[int]) -> Tree:
    count = len(parents)
    for node, parent in enumerate(parents):
        if not -1 <= parent < count:
            raise ArgumentError(
                f"tree: node {node} has the parent {parent}; expected a node from 0 to {count - 1}, or -1 for the root"
            )
    roots = [node for node, parent in enumerate(parents) if parent == -1]
    if len(roots) > 1:
        raise ArgumentError(f"tree: nodes {roots[0]} and {roots[1]} are both roots; join them under one root")
    depths = _depths(parents)
    inner = set(parents)
    leaves = [node for node in range(count) if node not in inner]
    return Tree(parents, depths, leaves, [str(node) for node in leaves], named=False)


def _depths(parents: list[int]) -> list[int]:
    depths = [0 if parent == -1 else -1 for parent in parents]
    for start in range(len(parents)):
        path: list[int] = []
        seen: set[int] = set()
        node = start
        while depths[node] == -1:
            if node in seen:
                raise ArgumentError(
                    f"tree: node {node} is its own ancestor; give one node the parent -1 (the root) and let every "
                    "other lead up to it"
                )
            seen.add(node)
            path.append(node)
            node = parents[node]
        for below in reversed(path):
            depths[below] = depths[parents[below]] + 1
    return depths
