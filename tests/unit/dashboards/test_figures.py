"""Figures: the data in them is the data given, and colour is never the only cue."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest
from plotly.offline import get_plotlyjs_version

from dashboards import theme
from dashboards.figures.accuracy import LOOKS, accuracy_figure
from dashboards.figures.changes import movers_figure
from dashboards.figures.demand_supply import demand_supply_figure
from dashboards.figures.diurnal import diurnal_figure
from dashboards.figures.hours import PARTS, hours_by_site_figure, hours_by_week_figure
from dashboards.figures.network_map import network_map_figure, project
from dashboards.weekly_report.page import CHART_LIBRARY
from orchestration.forecasting.tables import QUANTILES

MONDAY = date(2026, 11, 16)


def trace(figure, meta: str):
    """The one trace with that meta."""
    (found,) = [one for one in figure.data if one.meta == meta]
    return found


def fan(history_weeks: int = 3, horizon: int = 4, arriving: int = 0, step: float = 10.0):
    """A fan chart of a series that grows by ``step`` a week from 100, against 115 usable."""
    history = pl.DataFrame({
        "week_start_date": [MONDAY - timedelta(weeks=back) for back in range(history_weeks)],
        "demand_accelerator_count": [100.0 - step * back for back in range(history_weeks)],
        "usable_accelerator_count": [115.0] * history_weeks,
    }, schema={"week_start_date": pl.Date, "demand_accelerator_count": pl.Float64,
               "usable_accelerator_count": pl.Float64})
    forecast = pl.DataFrame(
        [(MONDAY + timedelta(weeks=week), quantile, 100 + step * week + 20 * (quantile - 0.5))
         for week in range(1, horizon + 1) for quantile in QUANTILES],
        schema={"target_date": pl.Date, "quantile": pl.Float64, "value": pl.Float64}, orient="row",
    )
    supply = pl.DataFrame(
        [(MONDAY + timedelta(weeks=week), 115.0 + (arriving if week >= 2 else 0), arriving if week == 2 else 0)
         for week in range(1, horizon + 1)],
        schema={"target_date": pl.Date, "usable_accelerator_count": pl.Float64,
                "committed_accelerator_count": pl.Int64}, orient="row",
    )
    return demand_supply_figure(history, forecast, supply, "en")


def test_the_fan_holds_every_week_and_its_band_holds_the_median() -> None:
    """A band drawn from the wrong quantiles still looks like a band."""
    figure = fan()
    assert list(trace(figure, "demand").y) == [80, 90, 100]
    median, low, high = (trace(figure, meta).y for meta in ("median", "q0.1", "q0.9"))
    assert list(median) == [110, 120, 130, 140]
    assert all(below < middle < above for below, middle, above in zip(low, median, high, strict=True))


def test_the_supply_line_steps_at_the_week_of_the_delivery() -> None:
    """A slope between two weeks would show half a delivery on a day when there is none."""
    figure = fan(arriving=16)
    supply = trace(figure, "supply")
    assert supply.line.shape == "hv"
    assert list(supply.y) == [115] * 4 + [131, 131, 131, 131]
    assert supply.x[-1] == (MONDAY + timedelta(weeks=5)).isoformat()
    committed = trace(figure, "committed")
    assert (list(committed.x), list(committed.text)) == ([(MONDAY + timedelta(weeks=2)).isoformat()], ["+16"])


def test_the_crossing_is_the_first_week_above_supply_and_none_when_there_is_none() -> None:
    """The mark that the planner looks for first."""
    assert list(trace(fan(), "crossing").x) == [(MONDAY + timedelta(weeks=2)).isoformat()]
    assert list(trace(fan(step=1.0), "crossing").x) == []


def test_the_fan_has_the_same_traces_whatever_the_data() -> None:
    """The page keeps one skeleton and swaps the data: a trace more or less would put data in the wrong place."""
    shapes = [[(one.meta, one.mode, one.name) for one in figure.data]
              for figure in (fan(), fan(0, 0), fan(1, 4, arriving=8))]
    assert shapes[0] == shapes[1] == shapes[2]


def test_the_heat_map_puts_each_hour_in_its_cell() -> None:
    """A transposed week shows the evening peak on Sunday morning."""
    hours = pl.DataFrame({"weekday": [1, 7], "hour": [0, 23], "share_of_peak_ratio": [0.5, 1.0]})
    cells = diurnal_figure(hours, "en").data[0].z
    assert (cells[0][0], cells[6][23], cells[3][12]) == (50, 100, None)
    assert (len(cells), {len(row) for row in cells}) == (7, {24})


def hours_frame(name: str, rows: int) -> pl.DataFrame:
    """Rows whose parts are 40, 20, 10, 24, 2 and 4% of 1,000 installed hours."""
    parts = dict(zip([part for part, _, _ in PARTS], (400, 200, 100, 240, 20, 40), strict=True))
    return pl.DataFrame([
        {name: f"2026-W{40 + row}", "installed_accelerator_hours": 1000.0,
         **{f"{part}_accelerator_hours": float(hours) for part, hours in parts.items()}} for row in range(rows)
    ])


def test_parts_of_installed_hours_add_to_one_hundred() -> None:
    """A part left out makes the network look busier than it is."""
    for figure, axis in (
        (hours_by_week_figure(hours_frame("iso_week", 3), "en"), "y"),
        (hours_by_site_figure(hours_frame("name", 3), "en"), "x"),
    ):
        assert len(figure.data) == len(PARTS)
        assert [sum(one[axis][row] for one in figure.data) for row in range(3)] == [100, 100, 100]


def test_every_bar_part_has_a_pattern_of_its_own() -> None:
    """Orange and purple are one colour to some readers."""
    patterns = [pattern for _, _, pattern in PARTS]
    assert len(set(patterns)) == len(patterns)
    assert len({(dash, symbol) for _, dash, symbol in LOOKS.values()}) == len(LOOKS)
    assert len({band.symbol for band in theme.LOAD_BANDS}) == len(theme.LOAD_BANDS)
    assert len({(band.dash, band.width) for band in theme.LOAD_BANDS}) == len(theme.LOAD_BANDS)


def test_movers_keep_their_order_and_sign() -> None:
    """A fall drawn to the right is a rise to everybody who does not read the label."""
    movers = pl.DataFrame({"name": ["a", "<b>b</b>", "c"], "change_accelerator_hours": [50.0, 20.0, -80.0]})
    figure = movers_figure(movers, "en")
    assert list(trace(figure, "increase").x) == [50, 20]
    assert list(trace(figure, "decrease").x) == [-80]
    assert list(figure.layout.yaxis.categoryarray) == ["a", "&lt;b&gt;b&lt;/b&gt;", "c"]
    low, high = figure.layout.xaxis.range
    assert low < -80 and high > 50


def test_the_map_draws_every_placed_site_and_every_link_between_them() -> None:
    """A site that is missing from the map is a hotspot that nobody sees."""
    sites = pl.DataFrame({
        "site_id": ["a", "b", "c", "nowhere"], "name": ["A", "B", "C", "N"],
        "site_kind": ["hub", "hotspot", "hotspot", "hotspot"], "latitude": [40.0, 30.0, 25.0, None],
        "longitude": [116.0, 104.0, 113.0, 100.0], "usable_accelerator_count": [400.0, 100.0, 0.0, 5.0],
        "load_ratio": [0.5, 0.97, None, 0.1],
    })
    links = pl.DataFrame({"link_id": ["1", "2", "3"], "a_site_id": ["a", "a", "a"], "b_site_id": ["b", "c", "nowhere"],
                          "load_ratio": [0.85, None, 0.5]})
    figure = network_map_figure(sites, links, "en")
    marks = trace(figure, "sites")
    assert list(marks.customdata) == ["a", "b", "c"]
    assert list(marks.marker.symbol) == ["circle", "triangle-up", "circle-open"]
    assert list(marks.text) == ["A", "<b>B 97%</b>", "<b>C –</b>"]
    assert marks.marker.size[0] > marks.marker.size[1] > marks.marker.size[2]
    segments = sum(one.x.count(None) for one in figure.data if one.meta == "links")
    assert segments == 2


def test_the_projection_keeps_north_up_and_east_right() -> None:
    """Own shapes instead of a map are only honest if directions hold."""
    harbin, guangzhou, urumqi = project(45.8, 126.5), project(23.1, 113.3), project(43.8, 87.6)
    assert harbin[1] > guangzhou[1]
    assert urumqi[0] < guangzhou[0] < harbin[0]
    assert project(36.0, 105.0) == pytest.approx((0, 0))


def test_accuracy_lines_are_in_percent_by_weeks_ahead() -> None:
    """Naive and model swapped would say the opposite."""
    errors = pl.DataFrame({"model": ["weighted", "seasonal_naive", "weighted"], "weeks_ahead": [2, 1, 1],
                           "wape_ratio": [0.2, 0.3, 0.1]})
    figure = accuracy_figure(errors, "weighted", "en")
    assert list(trace(figure, "weighted").y) == [10, 20]
    assert list(trace(figure, "seasonal_naive").y) == [30]
    assert trace(figure, "weighted").line.width > trace(figure, "seasonal_naive").line.width


@pytest.mark.parametrize("language", ["zh", "en"])
def test_figures_of_nothing_are_empty_and_not_an_error(language: str) -> None:
    """A network on its first day has charts without data, not a broken report."""
    nothing = fan(0, 0)
    assert all(not one.x for one in nothing.data)
    empty = pl.DataFrame(schema={"name": pl.String, "change_accelerator_hours": pl.Float64})
    assert all(not one.x for one in movers_figure(empty, language).data)


@pytest.mark.parametrize("colour", [theme.INK, theme.MUTED_INK, theme.BLUE, theme.DARK_VERMILLION, theme.DARK_GREEN,
                                    theme.DARK_ORANGE])
@pytest.mark.parametrize("paper", [theme.PAPER, theme.SHADE])
def test_text_colours_reach_four_and_a_half_to_one(colour: str, paper: str) -> None:
    """Grey on grey is unreadable on a projector and for many eyes."""
    assert theme.contrast(colour, paper) >= 4.5


def test_contrast_by_the_published_extremes() -> None:
    """The check above is worth what this formula is."""
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert theme.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_nothing_can_be_sent_from_a_chart() -> None:
    """Plotly's own defaults put a button there that uploads the chart's data."""
    assert theme.CONFIG["showSendToCloud"] is False
    assert theme.CONFIG["plotlyServerURL"] == ""
    assert theme.CONFIG["displayModeBar"] is False


def test_the_chart_library_is_the_version_that_python_writes_for() -> None:
    """A figure of a newer plotly drawn by an older library loses traces without an error."""
    head = CHART_LIBRARY.read_text("utf-8")[:200]
    assert f"plotly.js (cartesian - minified) v{get_plotlyjs_version()}" in head
    assert "MIT" in head
