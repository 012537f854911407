"""Codewords from trees."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError

ANIMALS = (("cat", "dog"), ("car", ("truck", "bus")), "rock")


def test_inner_products_are_depths_of_the_lowest_common_ancestor() -> None:
    encoding = ec.encodings.hierarchical(ANIMALS)
    assert encoding.classes == ("cat", "dog", "car", "truck", "bus", "rock")
    third = 1 / 3
    expected: list[list[float]] = [
        [1, third, 0, 0, 0, 0],
        [third, 1, 0, 0, 0, 0],
        [0, 0, 1, third, third, 0],
        [0, 0, third, 1, 2 * third, 0],
        [0, 0, third, 2 * third, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    np.testing.assert_allclose(encoding.gram(), expected, atol=1e-15)
    assert encoding.code_dim == 9  # six leaves and three inner nodes below the root
    assert (encoding.codewords >= 0).all()


def test_a_tree_of_one_level_is_one_hot() -> None:
    np.testing.assert_array_equal(ec.encodings.hierarchical(["a", "b", "c"]).codewords, np.eye(3))


def test_each_coordinate_is_a_node() -> None:
    e = ec.encodings.hierarchical((("a", "b"), "c")).codewords
    below = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(e > 0, below)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), n=st.integers(3, 23))
def test_parent_lists_and_nested_lists_agree(data: st.DataObject, n: int) -> None:
    parents = [-1] + [data.draw(st.integers(0, i - 1)) for i in range(1, n)]
    leaves = [i for i in range(n) if i not in parents]
    if len(leaves) < 2:
        parents.append(0)
        leaves = [i for i in range(n + 1) if i not in parents]

    def nested(node: int) -> Any:
        children = [i for i, p in enumerate(parents) if p == node]
        return [nested(c) for c in children] if children else str(node)

    def way(node: int) -> list[int]:
        return [] if node == -1 else [*way(parents[node]), node]

    height = max(len(way(k)) for k in leaves) - 1
    slow = np.eye(len(leaves))
    for i, k in enumerate(leaves):
        for j, m in enumerate(leaves):
            if i != j:
                slow[i, j] = (len(set(way(k)) & set(way(m))) - 1) / height
    from_parents = ec.encodings.hierarchical(parents)
    assert from_parents.classes == tuple(map(str, leaves))
    np.testing.assert_allclose(from_parents.gram(), slow, atol=1e-14)
    by_name = ec.encodings.hierarchical(nested(0), classes=from_parents.classes)
    np.testing.assert_allclose(by_name.gram(), slow, atol=1e-14)
    assert np.linalg.matrix_rank(from_parents.codewords) == len(leaves)


def test_classes_give_the_order_of_the_columns() -> None:
    order = ["rock", "bus", "car", "cat", "truck", "dog"]
    straight, ordered = ec.encodings.hierarchical(ANIMALS), ec.encodings.hierarchical(ANIMALS, classes=order)
    assert ordered.classes == tuple(order)
    for k, name in enumerate(order):
        np.testing.assert_array_equal(ordered.codewords[:, k], straight.codewords[:, straight.classes.index(name)])


def test_leaves_that_are_numbers_are_labels() -> None:
    encoding = ec.encodings.hierarchical([[3, 0], [2, [1, 4]]])
    assert encoding.classes == ("0", "1", "2", "3", "4")
    gram = encoding.gram()
    assert gram[0, 3] == pytest.approx(1 / 3)
    assert gram[1, 4] == pytest.approx(2 / 3)
    assert gram[0, 1] == 0
    named = ec.encodings.hierarchical([[3, 0], [2, [1, 4]]], classes=list("abcde"))
    assert named.classes == tuple("abcde")


def test_parents_may_be_an_array_or_have_none_for_the_root() -> None:
    one = ec.encodings.hierarchical(np.array([2, 2, -1, 2])).gram()
    two = ec.encodings.hierarchical([2, 2, None, 2]).gram()
    np.testing.assert_array_equal(one, np.eye(3))
    np.testing.assert_array_equal(two, one)


def test_deep_trees() -> None:
    tree: Any = ["a", "b"]
    for i in range(3000):
        tree = [tree, f"c{i}"] if i % 1000 == 0 else [tree]
    encoding = ec.encodings.hierarchical(tree)
    assert encoding.num_classes == 5
    assert encoding.gram()[0, 1] == pytest.approx(3000 / 3001)


def _loop() -> list[Any]:
    loop: list[Any] = ["a", "b"]
    loop.append([loop])
    return loop


@pytest.mark.parametrize(
    ("tree", "error", "words"),
    [
        ([], ArgumentError, "empty"),
        (["a"], ArgumentError, "two leaves"),
        ([["a", []], "b"], ArgumentError, "empty"),
        ([["a", "b"], "a"], ArgumentError, "'a' is named 2 times"),
        (["a", ""], ArgumentError, "empty name"),
        (["a", ["b", 3]], ArgumentTypeError, "one kind"),
        (["a", 1.5], ArgumentTypeError, "1.5"),
        (["a", None], ArgumentTypeError, "None"),
        ([["a"], True], ArgumentTypeError, "True"),
        ("abc", ArgumentTypeError, "abc"),
        ({"a": ["b"]}, ArgumentTypeError, "dict"),
        ([[0, 1], 3], ArgumentError, "labels 0 to 2"),
        ([[0, 1], 1], ArgumentError, "labels 0 to 2"),
        (_loop(), ArgumentError, "contains itself"),
        ([1, 2, 0], ArgumentError, "own ancestor"),
        ([-1, 0, 0, 4, 3], ArgumentError, "own ancestor"),
        ([-1, 1, 0], ArgumentError, "own ancestor"),
        ([-1, -1, 0, 1], ArgumentError, "roots"),
        ([-1, 0, 7], ArgumentError, "parent 7"),
        ([-1, 0, -2], ArgumentError, "parent -2"),
        ([-1, 0], ArgumentError, "two leaves"),
    ],
)
def test_bad_trees(tree: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"^tree: .*{words}"):
        ec.encodings.hierarchical(tree)


@pytest.mark.parametrize("classes", [["cat"], list(ANIMALS), "abcdef", ["cat"] * 6])
def test_classes_that_are_not_the_leaves(classes: Any) -> None:
    with pytest.raises(ArgumentError, match="classes"):
        ec.encodings.hierarchical(ANIMALS, classes=classes)


def test_the_tree_has_to_fit_the_number_of_classes() -> None:
    made = ec.encodings.by_name("hierarchical", 6, tree=ANIMALS)
    np.testing.assert_array_equal(made.codewords, ec.encodings.hierarchical(ANIMALS).codewords)
    with pytest.raises(ArgumentError, match="tree: it describes 6 classes, but there are 10"):
        ec.encodings.by_name("hierarchical", 10, tree=ANIMALS)
    with pytest.raises(ArgumentError, match="tree"):
        ec.encodings.by_name("hierarchical", 10)
