"""Parts of the report: the axis, the wording, the choice of what is shown."""

import math
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import encollapse as ec
from encollapse._internal.format import fixed, percent, power, short, wrapped
from encollapse.report import pages
from encollapse.report.charts.chart import BiasAxis
from encollapse.report.figures.collapse import percent_limits
from encollapse.report.figures.grams import chosen_trials
from encollapse.report.figures.series import Spread
from encollapse.report.summary import in_words
from encollapse.report.tables import Cell, Group, Table
from encollapse.report.varied_settings import varied
from encollapse.study.execution.display import duration
from encollapse.study.families import by_panel, families
from encollapse.ufm.path import transition_grid
from reference.study_folder import study_of, write_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser

POSITIVE = st.floats(1e-9, 1e9)


@given(st.lists(POSITIVE, min_size=1), POSITIVE, POSITIVE)
def test_the_axis_keeps_the_order_of_bias_decays(values: list[float], one: float, two: float) -> None:
    axis = BiasAxis.covering([*values, one, two, 0.0, math.inf])
    low, high = sorted((one, two))
    assert axis.place(0.0) < axis.low < axis.place(low) <= axis.place(high) < axis.high < axis.place(math.inf)
    assert axis.holds(one)
    assert not axis.holds(0.0)
    assert not axis.holds(math.inf)


def test_an_axis_without_finite_values_exists() -> None:
    axis = BiasAxis.covering([0.0, math.inf])
    assert axis.place(0.0) < axis.place(1.0) < axis.place(math.inf)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("λ_b* = 1", "λ<sub>b</sub>* = 1"),
        ("|G_meas - G_pred|_F", "|G<sub>meas</sub> - G<sub>pred</sub>|<sub>F</sub>"),
        ("λ_H = λ_γ/N", "λ<sub>H</sub> = λ<sub>γ</sub>/N"),
        ("gram_error", "gram_error"),
        ("batch_size", "batch_size"),
        ("<i>λ_W</i> & co", "&lt;i&gt;λ<sub>W</sub>&lt;/i&gt; &amp; co"),
    ],
)
def test_symbols_are_set_and_everything_else_escaped(text: str, expected: str) -> None:
    assert str(pages.symbols(text)).replace("\N{NO-BREAK SPACE}", " ") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8.2e-5 ± 3.0e-5", '8.2e-5<span class="spread">± 3.0e-5</span>'),
        ("<b> ± 1", '&lt;b&gt;<span class="spread">± 1</span>'),
        ("8.2e-5", "8.2e-5"),
    ],
)
def test_a_spread_stands_beneath_its_mean(text: str, expected: str) -> None:
    assert str(pages.spread(pages.symbols(text))) == expected


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=5))
def test_axes_of_shares_show_every_value_and_nothing_beyond_the_possible(shares: list[float]) -> None:
    low, high = percent_limits([Spread(share, share, share, 1) for share in shares])
    assert low <= min(shares) <= max(shares) <= high
    assert high - low > 0.9
    room = 0.031 * (min(high, 100.0) - max(low, 0.0))
    assert -room <= low
    assert high <= 100.0 + room


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "none"),
        (True, "yes"),
        (False, "no"),
        (math.inf, "inf"),
        (1 / 3, "0.333333"),
        ({"depth": 3, "batch_norm": False, "stem": None}, "depth 3, batch_norm no, stem none"),
        ({}, "none"),
        ([32, 64], "32, 64"),
    ],
)
def test_settings_are_said_in_words(value: object, expected: str) -> None:
    assert in_words(value) == expected


@pytest.mark.parametrize(
    ("value", "running", "table"),
    [
        (5.94e-4, "5.9 × 10⁻⁴", "5.9e-4"),
        (-3e-12, "−3.0 × 10⁻¹²", "-3.0e-12"),
        (0.0, "0", "0"),
        (0.0513, "0.051", "5.1e-2"),
        (None, "–", "–"),
    ],
)
def test_numbers_in_running_text_and_tables(value: float | None, running: str, table: str) -> None:
    assert power(value).replace("\N{NO-BREAK SPACE}", " ") == running
    assert short(value) == table


def test_negative_zero_is_not_written() -> None:
    assert fixed(-1e-9, 3) == "0.000"
    assert fixed(-1 / 9, 3) == "−0.111"


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.44, "8.4 s"), (9.96, "10 s"), (125, "2 min 05 s"), (11400, "3 h 10 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_families_group_by_everything_but_bias_decay_and_seed(tmp_path: Path) -> None:
    text = """
    name = "made-up"
    title = "t"
    [defaults]
    weight_decay = [5e-3, 1e-2]
    relative_threshold = 0.3
    [[runs]]
    dataset = ["digits", { name = "digits", counts = 13 }]
    encoding = "one-hot"
    bias_decay = [0, 1, inf]
    seeds = [0, 1]
    """
    write_folder(tmp_path, study_of(text))
    made = families(ec.study.open(tmp_path).done)
    assert len(made) == 4
    assert {len(family.trials) for family in made} == {6}
    assert {family.panel for family in made} == {
        "digits, λ_W = 0.005",
        "digits, λ_W = 0.01",
        "digits, 13 a class, λ_W = 0.005",
        "digits, 13 a class, λ_W = 0.01",
    }
    assert len(by_panel(made)) == 4


def test_options_that_are_not_given_have_the_value_of_their_recipe_or_the_default() -> None:
    settings: list[dict[str, Any]] = [
        {"train": {"recipe": "sgd-cosine", "loss": "mse"}, "model_options": {"tail": "linear", "width": 5}},
        {"train": {"recipe": "sgd-cosine", "batch_size": 64}, "model_options": {"tail": "none"}},
        {"train": {"recipe": "adam-cosine", "batch_size": 32}},
        {"train": {"batch_size": 128}},
    ]
    found = {parameter.key: parameter for parameter in varied(settings)}
    assert found["train.batch_size"].values == ("32", "64", "128")
    assert "train.loss" not in found
    assert found["train.recipe"].of(settings[2]) == "adam-cosine"
    assert found["model_options.tail"].values == ("linear", "none", "default")


def test_tiny_shares_are_powers_of_ten_and_no_percentages() -> None:
    """Of two forms of one number with an exponent, ``1.6e-13 %`` is the one that nobody reads."""
    assert [percent(value) for value in (1.6e-15, -2e-9, 0.0)] == [power(1.6e-15), power(-2e-9), "0\N{NO-BREAK SPACE}%"]
    assert "e-" not in percent(2e-6)


def test_no_line_of_a_page_ends_at_a_sign() -> None:
    assert pages.symbols("at λ_b = 0.1, 2 < 3") == "at λ<sub>b</sub>\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0.1, 2 &lt; 3"


def test_percentages_have_two_digits_and_no_exponent() -> None:
    texts = [percent(value).replace("\N{NO-BREAK SPACE}", " ") for value in (None, 0.0123, 0.9951, 2.36, 18.9)]
    assert texts == ["–", "1.2 %", "100 %", "236 %", "1890 %"]


def test_a_table_of_single_rows_is_one_list_with_names() -> None:
    head, rows = (("seed", ""),), [((Cell("0"),),), ((Cell("1"),),)]
    table = Table(head, tuple(Group(name, row) for name, row in zip("ab", rows, strict=True)), "")
    (group,) = table.compact.groups
    assert [[cell.text for cell in row] for row in group.rows] == [["a", "0"], ["b", "1"]]
    assert len(table.compact.columns) == 2
    assert table.compact.named
    longer = Table(head, (Group("a", (*rows[0], *rows[1])), Group("b", rows[0])), "")
    assert longer.compact is longer


def test_families_name_only_what_varies(tmp_path: Path) -> None:
    write_folder(tmp_path, study_of())
    made = families(ec.study.open(tmp_path).done)
    assert [family.label for family in made] == ["one-hot", "simplex", "random (code_dim=3)"]
    assert made[0].critical == pytest.approx(3 / 7, rel=1e-9)
    assert made[1].label_mean_norm == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("columns", [2, 3, 4, 5, 6, 9])
def test_the_gram_figure_shows_both_ends_and_the_critical_point(tmp_path: Path, columns: int) -> None:
    write_folder(tmp_path, study_of())
    family = families(ec.study.open(tmp_path).done)[0]
    shown = [result.settings["bias_decay"] for result in chosen_trials(family, columns)]
    assert shown == sorted(shown)
    assert len(shown) == min(max(columns, 3), 6)
    assert {0.0, 3 / 7, math.inf} <= set(shown)
    assert {result.settings["seed"] for result in chosen_trials(family, columns)} == {0}


def test_the_grid_of_a_path_is_ordered_and_holds_the_critical_point() -> None:
    grid = transition_grid(0.123)
    assert grid == sorted(set(grid))
    assert grid[0] == 0.0
    assert grid[-1] == math.inf
    assert 0.123 in grid
    assert transition_grid(math.inf)[-1] == math.inf


def test_long_names_break_at_brackets_and_commas() -> None:
    assert wrapped("digits, mlp", 36) == "digits, mlp"
    assert wrapped("mnist5k, resnet8 (stem_stride=2, width=8)", 36) == ("mnist5k, resnet8\n(stem_stride=2, width=8)")
    name = "fashion-mnist, mlp (normalization=batch, width=512), 30 epochs, batch_size=128, finish=0"
    assert wrapped(name, 36, 2) == "fashion-mnist, mlp\n(normalization=batch, width=512), …"
    assert wrapped(name, 36) == (
        "fashion-mnist, mlp\n(normalization=batch, width=512),\n30 epochs, batch_size=128, finish=0"
    )
    label = "one-hot · t = 0.1, cross entropy, logit adjustment 1"
    for length in (24, 34):  # `mlp` alone on its line, and a line of full length below it, would be ragged
        text = "mlp (tail=batch-norm), cross entropy"
        assert wrapped(text, length) == "mlp (tail=batch-norm),\ncross entropy"
    assert wrapped(label, 18) == "one-hot · t = 0.1,\ncross entropy,\nlogit adjustment 1"


@pytest.mark.parametrize(("cells", "window", "scrolls"), [(5, 1280, False), (10, 1280, False), (10, 900, True)])
def test_a_wide_table_takes_the_margins_before_it_scrolls(
    cells: int, window: int, scrolls: bool, tmp_path: Path, browser: "Browser"
) -> None:
    """Ten cells of 100 pixels and 16 between need 1144. A window of 1280 has them, its column of text has 960."""
    style = resources.files("encollapse.report").joinpath("templates", "page.css.j2").read_text(encoding="utf-8")
    row = "<td><div style='width: 100px'>1</div></td>" * cells
    page = tmp_path / "page.html"
    page.write_text(f"<style>{style}</style><main><div class='scroll'><table><tr>{row}</tr></table></div></main>")
    shown = browser.new_page(viewport={"width": window, "height": 600})
    shown.goto(page.as_uri())
    table = shown.locator(".scroll")
    inner, needed = table.evaluate("t => [t.clientWidth, t.scrollWidth]")
    left, right = table.evaluate("t => [t.getBoundingClientRect().left, t.getBoundingClientRect().right]")
    assert shown.evaluate("document.documentElement.scrollWidth") == window
    shown.close()
    assert (needed > inner) == scrolls
    assert left + right == pytest.approx(window, abs=1)
