"""The controls as text: what is read, what is refused and where, and the way to an address and back."""

import itertools
import math
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encollapse.encodings.registry import ENCODINGS
from encollapse.explorer.state import matrix_input
from encollapse.explorer.state.fields import FieldError, Matrix, read
from encollapse.explorer.state.matrix_input import MOST_CHARACTERS
from encollapse.explorer.state.problem import problem, solution
from encollapse.explorer.state.state import State, address, defaults, parse
from encollapse.explorer.views import bias_path

DECAYS = st.floats(min_value=1e-12, max_value=1e6)


@given(
    classes=st.integers(2, 200),
    weight_decay=DECAYS,
    feature_decay=DECAYS,
    bias_decay=st.one_of(st.floats(min_value=0, max_value=1e300), st.just(math.inf)),
    counts=st.sampled_from(["balanced", "step", "longtail"]),
    samples=st.integers(1, 10**9),
    encoding=st.sampled_from(sorted(ENCODINGS)),
    feature_dim=st.one_of(st.none(), st.integers(1, 512)),
    centered=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_state_survives_its_address(**values: Any) -> None:
    state = State(**values)
    query = urlencode(address(state))
    again, errors = parse(dict(parse_qsl(query, keep_blank_values=True)))
    assert errors == {}
    assert again == state


def test_an_address_holds_what_differs_from_the_defaults_only() -> None:
    assert address(State()) == {}
    assert address(State(bias_decay=math.inf, classes=7)) == {"bias_decay": "inf", "classes": "7"}
    assert parse(defaults()) == (State(), {})


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("classes", "1e9", "whole number"),
        ("classes", "1", "2 to 200"),
        ("classes", "100000000", "2 to 200"),
        ("bias_decay", "nan", "NaN"),
        ("bias_decay", "-1", "0 or above"),
        ("bias_decay", "<script>alert(1)</script>", "expected a number"),
        ("bias_decay", "9" * 5000, "longer than"),
        ("weight_decay", "0", "above 0"),
        ("weight_decay", "inf", "finite"),
        ("feature_decay", "/etc/passwd", "expected a number"),
        ("encoding", "__import__", "expected one of"),
        ("counts", "", "expected one of"),
        ("typed", "3,-1", "1 to"),
        ("typed", "1," * 3000, "longer than"),
        ("depth", "9", "1 to 8"),
        ("matrix", "1" * (MOST_CHARACTERS + 1), "characters"),
        ("samples", "", "nothing"),
    ],
)
def test_what_cannot_be_used_is_refused_beside_its_field(field: str, text: str, words: str) -> None:
    state, errors = parse({field: text, "imbalance": "3"})
    assert set(errors) == {field}
    assert words in errors[field]
    assert len(errors[field]) < 400
    assert state == State(imbalance=3.0)


def test_an_address_of_an_earlier_release_is_read() -> None:
    state, errors = parse({"centred": "1", "classes": "7"})
    assert errors == {}
    assert state == State(centered=True, classes=7)
    assert address(state) == {"centered": "1", "classes": "7"}


def test_settings_that_do_not_exist_are_named() -> None:
    _, errors = parse({"path": "/etc/passwd"})
    assert "path" in errors["address"]
    _, errors = parse({"encoding": "one-hot", "option.smoothing": "0.1"})
    assert "smoothing" in errors["address"]
    _, errors = parse({"classes": 3})
    assert "text" in errors["classes"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1 2 3\n4 5 6", [[1, 2, 3], [4, 5, 6]]),
        ("1,2,3;4,5,6", [[1, 2, 3], [4, 5, 6]]),
        ("1, 2, 3,\n4, 5, 6,\n", [[1, 2, 3], [4, 5, 6]]),
        ("1\t2\t3\r\n4\t5\t6", [[1, 2, 3], [4, 5, 6]]),
        ("[[1, 2.5e-3], [-4, 5]]", [[1, 2.5e-3], [-4, 5]]),
    ],
)
def test_a_pasted_matrix_is_read(text: str, rows: list[list[float]]) -> None:
    assert read("matrix", Matrix, text).tolist() == rows


@given(st.integers(1, 7), st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_matrix_survives_as_text(q: int, k: int, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal((q, k)) * 10.0 ** np.arange(-2, k - 2)
    assert (read("matrix", Matrix, matrix_input.as_text(values)) == values).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2\n3", "differ in length"),
        ("1 nan\n3 4", "row 1, column 2"),
        ("1 inf\n3 4", "finite"),
        ("1 1e200\n3 4", "1e100"),
        ("<script>alert(1)</script>", "not a number"),
        ("/etc/passwd", "not a number"),
        ("", "paste"),
        ("[1, 2]", "rows of numbers"),
        ("[[1, [2]], [3, 4]]", "not a number"),
        ("[" * 5000 + "]" * 5000, "JSON"),
        ('{"format": "other"}', "encollapse.encoding"),
        (
            '{"format": "encollapse.encoding", "version": 1, "family": "multi-label", "num_labels": 100000000}',
            "up to 512",
        ),
        (
            '{"format": "encollapse.encoding", "version": 1, "family": "affine-one-hot", "num_classes": 1000000000}',
            "up to 200",
        ),
        ("1 " * 50_000, "entries"),
        ("1;" * 50_000, "entries"),
        ("[" + ",".join(["[1,2]"] * 40_000) + "]", "entries"),
    ],
)
def test_hostile_matrices_are_refused(text: str, words: str) -> None:
    with pytest.raises(FieldError, match=words) as caught:
        read("matrix", Matrix, text)
    assert caught.value.field == "matrix"
    assert len(caught.value.message) < 400


def npy(shape: tuple[int, ...], descr: str = "<f8", body: bytes = b"") -> bytes:
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + body


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.npy", npy((10_000, 10_000)), "100000000 entries"),
        ("a.npy", npy((3, 2), "|O", b"cos\nsystem\n(S'true'\ntR."), "real numbers"),
        ("a.npy", npy((3, 2), body=b"short"), "whole .npy"),
        ("a.npy", b"\x80\x04pickle", "whole .npy"),
        ("a.npy", npy((6,), body=bytes(48)), "expected a matrix"),
        ("a.pkl", b"\x80\x04", "not read"),
        ("../../etc/passwd", b"root:x:0:0", "not read"),
        ("a.csv", b"\xff\xfe\x00", "UTF-8"),
        ("a.csv", b"1," * 10**6, "bytes"),
    ],
)
def test_hostile_files_are_refused(name: str, content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        matrix_input.from_file(name, content)


def test_files_are_read() -> None:
    body = np.arange(6.0).tobytes()
    assert matrix_input.from_file("x.npy", npy((3, 2), body=body)).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert matrix_input.from_file("x.csv", b"1,2\n3,4\n").tolist() == [[1, 2], [3, 4]]


def test_the_slider_reaches_both_ends_and_rises() -> None:
    decays = [bias_path.decay_at(p) for p in range(bias_path.STEPS + 1)]
    assert decays[0] == 0.0
    assert math.isinf(decays[-1])
    assert all(a < b for a, b in itertools.pairwise(decays))
    assert [bias_path.position_of(d) for d in decays] == list(range(bias_path.STEPS + 1))


def test_the_settings_of_one_problem_are_cached_whatever_the_view() -> None:
    state = State(classes=7, bias_decay=0.3, centered=True, view="runs")
    assert state.problem_key == State(classes=7).problem_key
    assert problem(state).bias_decay == 0.3


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"encoding": "own", "matrix": "1 2\n3 nan"}, "matrix"),
        ({"encoding": "own", "matrix": ""}, "matrix"),
        ({"encoding": "own", "matrix": "1\n2"}, "matrix"),
        ({"encoding": "label-smoothing", "options": (("smoothing", "7"),)}, "option.smoothing"),
        ({"encoding": "error-correcting", "options": (("code_dim", "100000"),)}, "option.code_dim"),
        ({"encoding": "hierarchical", "options": (("tree", "[[["),)}, "option.tree"),
        ({"encoding": "hierarchical", "options": (("tree", '["a", "a"]'),)}, "option.tree"),
        ({"encoding": "from-similarity", "options": (("S", "1 2\n3 4"),)}, "option.S"),
        ({"counts": "typed", "typed": "1,2,3"}, "typed"),
        ({"loss": "cross_entropy", "depth": 3}, "depth"),
        ({"features": "relu", "depth": 2}, "depth"),
        ({"loss": "cross_entropy", "encoding": "one-vs-rest"}, "encoding"),
    ],
)
def test_problems_that_cannot_be_stated_are_refused_beside_their_field(values: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        solution(State(**values))
    assert caught.value.field == field
