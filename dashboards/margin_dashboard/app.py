"""The margin dashboard as a Vizro app: filters that live in the address, one Vizro figure a block.

Turns blocks into Dash components and registers them; what a block says is made in ``content``.
"""

from __future__ import annotations

import base64
import functools
import html as html_escape
import json
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import dash
import flask
import vizro.models as vm
from dash import dcc, html
from vizro import Vizro
from vizro.managers import data_manager
from vizro.models.types import capture

from dashboards import theme
from dashboards.margin_dashboard import content
from dashboards.margin_dashboard.access import Access, guard
from dashboards.margin_dashboard.blocks import MARKS, Block, Card, Table
from dashboards.margin_dashboard.export import csv_of
from dashboards.margin_dashboard.readings import Book, Choice, Reading
from dashboards.margin_dashboard.sparkline import sparkline
from dashboards.margin_dashboard.words import Words
from dashboards.margin_strings import STRINGS

ASSETS = Path(__file__).resolve().parent / "assets"
LONGEST_TABLE = 400
"""Rows of a table on the page; the export has all of them."""
READINGS_KEPT = 32


class LiveDropdown(vm.Dropdown):
    """A dropdown whose options are those of the file that is published when the page is opened."""

    type: Literal["live_dropdown"] = "live_dropdown"  # type: ignore[assignment]
    dimension: str

    def build(self) -> Any:
        """The control with today's options."""
        book, words = _SERVED["book"], _SERVED["words"]
        self.options = options_of(book, self.dimension, words)
        if not self.multi:
            self.value = book.snapshot().latest_period
        return super().build()


vm.Parameter.add_type("selector", LiveDropdown)


class SpokenDashboard(vm.Dashboard):
    """A dashboard whose frame speaks the language of its pages: Vizro's own words are English."""

    def _make_page_layout(self, page: vm.Page, **asked: Any) -> Any:
        layout = super()._make_page_layout(page, **asked)
        words: Words = _SERVED["words"]
        for part in layout._traverse():
            for name in ("children", "title", "aria-label"):
                text = getattr(part, name, None)
                if isinstance(text, str) and f"frame_{text}" in STRINGS:
                    setattr(part, name, words.say(f"frame_{text}"))
                elif isinstance(text, list):
                    setattr(part, name, [
                        words.say(f"frame_{item}") if isinstance(item, str) and f"frame_{item}" in STRINGS else item for item in text
                    ])
        return layout


# Vizro keeps its models in globals and makes pages later, so what they draw on is kept beside them.
_SERVED: dict[str, Any] = {}


def options_of(book: Book, dimension: str, words: Words) -> list[dict[str, str]]:
    """What can be chosen, by name; values are ids, so an address means the same in both languages."""
    snapshot = book.snapshot()
    if dimension == "period":
        return [
            {"label": content.period_label(period, words), "value": name} for name, period in snapshot.periods.items()
        ] or [{"label": "–", "value": ""}]
    named = [(content.member(snapshot, dimension, value, words), value) for value in snapshot.members(dimension)]
    return [{"label": label, "value": value} for label, value in sorted(named)] or [{"label": "–", "value": ""}]


def control_id(page: str, dimension: str) -> str:
    """The id of a filter, which is also its name in the address."""
    return f"{page}-{dimension}"


def address(page: content.Page, choice: Choice, prefix: str = "") -> str:
    """The address of a page with a choice, as Vizro writes it.

    What is not chosen is said as well: Vizro would keep what another page has chosen for a filter that is not named.
    """
    parameters = {}
    for dimension in page.filters:
        value: Any = getattr(choice, dimension)
        if value or dimension != "period":
            text = json.dumps(value if dimension == "period" else list(value), separators=(",", ":"))
            encoded = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
            parameters[control_id(page.key, dimension)] = f"b64_{encoded}"
    return f"{prefix}/{'' if page is content.PAGES[0] else page.key}" + (f"?{urlencode(parameters)}" if parameters else "")


def export_address(page: content.Page, block: Block, choice: Choice) -> str:
    """Where the block's rows of a choice can be had as CSV."""
    chosen = [("period", choice.period)] if choice.period else []
    chosen += [(dimension, value) for dimension in page.filters if dimension != "period" for value in getattr(choice, dimension)]
    return f"/export/{page.key}/{block.key}.csv" + (f"?{urlencode(chosen)}" if chosen else "")


# --- blocks as Dash components -------------------------------------------------------------------


def component(page: content.Page, block: Block, reading: Reading, words: Words) -> html.Section:
    """One block: title, figure, sentence, numbers, and where to have them."""
    title_id, summary_id = f"{page.key}-{block.key}-title", f"{page.key}-{block.key}-summary"
    parts: list[Any] = [html.H3(block.title, id=title_id, className="block-title")]
    if block.back is not None:
        text, choice = block.back
        parts.insert(0, html.P(dcc.Link(f"← {text}", href=address(page, choice)), className="back"))
    if block.cards:
        parts.append(html.Ul([_card(card) for card in block.cards], className="cards"))
    if block.figure is not None:
        parts.append(html.Div(
            dcc.Graph(figure=block.figure, config=theme.CONFIG | {"responsive": True}, className="plot",
                      id={"type": "plot", "page": page.key, "block": block.key},
                      style={"height": f"{block.figure.layout.height}px"}),
            role="img", className="plot-scroll", **{"aria-labelledby": title_id, "aria-describedby": summary_id},
        ))
    parts.append(html.P(block.summary, id=summary_id, className="block-summary"))
    if block.lines:
        parts.append(html.Ul([html.Li(line) for line in block.lines], className="lines"))
    if block.table is not None:
        parts.append(html.Div([
            html.Details([html.Summary(words.say("data_table")), _table(page, block.table, words)], className="numbers", open=block.figure is None and bool(block.table.rows)),
            html.A(words.say("export_csv"), href=export_address(page, block, reading.choice), className="export",
                   download=f"{page.key}-{block.key}.csv"),
        ], className="block-foot"))
    return html.Section(
        parts, className=f"block block-{block.key} {block.tone}", **{"aria-labelledby": title_id, "data-block": block.key},
    )


def _card(card: Card) -> html.Li:
    parts: list[Any] = [
        html.Span(card.label, className="card-label"),
        html.Span([html.Span(card.value, className="card-number"), " ", html.Span(card.unit, className="card-unit")], className="card-value"),
        *(html.Span(detail, className="card-detail") for detail in card.details),
    ]
    if len(card.history) > 1:
        parts.append(html.Img(src=sparkline(card.history), alt=card.history_words, className="spark"))
    parts += [
        html.Span(card.target, className="card-target"),
        html.Span([html.Span(MARKS[card.status], **{"aria-hidden": "true"}), " ", card.status_word], className="card-status"),
        html.Span(card.variance, className="card-variance"),
    ]
    return html.Li(parts, className=f"card-kpi {card.status}", **{"data-kpi": card.key})


def _table(page: content.Page, table: Table, words: Words) -> html.Div:
    def cell(row: dict[str, Any], index: int, text: str) -> html.Td:
        column = table.columns[index]
        choice = table.choose(row) if table.choose and index == 0 else None
        return html.Td(
            dcc.Link(text, href=address(page, choice)) if choice else text, className="number" if column.is_number else "",
        )

    shown = table.rows[:LONGEST_TABLE]
    notes = []
    if not table.rows:
        notes.append(html.P(words.say("no_rows")))
    elif len(shown) < len(table.rows):
        notes.append(html.P(words.say("rows_shown", shown=len(shown), count=len(table.rows))))
    return html.Div([
        html.Table([
            html.Thead(html.Tr([
                html.Th(column.heading, scope="col", className="number" if column.is_number else "") for column in table.columns
            ])),
            html.Tbody([
                html.Tr([cell(row, index, text) for index, text in enumerate(table.cells(row, words))], **{"data-row": number})
                for number, row in enumerate(shown)
            ]),
        ]), *notes,
    ], className="table-scroll", tabIndex=0, role="region", **{"aria-label": words.say("data_table")})


# --- the app -------------------------------------------------------------------------------------


@capture("figure")
def block_figure(data_frame: Reading, page: str, index: int) -> html.Section:
    """One block of a page, made from what the reader has chosen."""
    words: Words = _SERVED["words"]
    return component(content.page_of(page), content.page_of(page).blocks[index](data_frame, words), data_frame, words)


def make_app(path: Path, access: Access, language: str) -> flask.Flask:
    """The dashboard over a published finance file, every route behind the access; FinanceAbsent without a file."""
    Vizro._reset()
    book, words = Book(path), Words(language)
    book.snapshot()
    _SERVED.update(book=book, words=words)

    @functools.lru_cache(READINGS_KEPT)
    def kept(snapshot: int, choice: Choice) -> Reading:
        return book.reading(choice)

    def read(period: Any = None, site: Any = None, product: Any = None, segment: Any = None, model: Any = None) -> Reading:
        choice = Choice.of(period, site=site, product=product, segment=segment, model=model)
        return kept(id(book.snapshot()), choice)

    # The first drawing of each kind costs seconds of imports, which the first reader should not wait for.
    for page in content.PAGES:
        for make in page.blocks:
            component(page, make(read(), words), read(), words)
    data_manager["margin"] = read
    # A click on a cell does what the link of its row in the table does, which the keyboard reaches too.
    dash.clientside_callback(
        """click => {
            // Dash leaves the custom data of a heat map out of what it reports, so they are read from the figure.
            const { x, y } = click.points[0];
            const cells = document.querySelector("[data-block=matrix] .js-plotly-plot").data[0].customdata;
            const link = document.querySelector(`[data-block=matrix] tr[data-row="${cells[y][x][1]}"] a`);
            if (link) link.click();
        }""",
        dash.Input({"type": "plot", "page": "matrix", "block": "matrix"}, "clickData"),
        prevent_initial_call=True,
    )
    pages = [
        vm.Page(
            id=page.key, title=words.say(f"page_{page.key}"), path="/" if page is content.PAGES[0] else f"/{page.key}",
            layout=vm.Flex(),
            components=[
                vm.Figure(id=f"{page.key}_{index}", figure=block_figure("margin", page=page.key, index=index))
                for index in range(len(page.blocks))
            ],
            controls=[_control(page, dimension, book, words) for dimension in page.filters],
        )
        for page in content.PAGES
    ]
    dashboard = SpokenDashboard(
        title=words.say("dashboard_title"), pages=pages, theme="vizro_light",
        navigation=vm.Navigation(nav_selector=vm.Accordion(pages={words.say("pages"): [page.key for page in content.PAGES]})),
    )
    app = Vizro(assets_folder=str(ASSETS), serve_locally=True).build(dashboard)
    server = app.dash.server
    guard(server, access)
    _add_headers(app.dash)
    _add_export(server, read, words)
    return server


def _control(page: content.Page, dimension: str, book: Book, words: Words) -> vm.Parameter:
    multi = dimension != "period"
    others = [control_id(other.key, dimension) for other in content.PAGES if other is not page and dimension in other.filters]
    return vm.Parameter(
        id=control_id(page.key, dimension), show_in_url=True,
        targets=[*(f"{page.key}_{index}.data_frame.{dimension}" for index in range(len(page.blocks))), *others],
        selector=LiveDropdown(
            id=f"{page.key}-{dimension}-choice", dimension=dimension, title=words.say(f"filter_{dimension}"), multi=multi,
            options=options_of(book, dimension, words), value=[] if multi else book.snapshot().latest_period,
            extra={"placeholder": words.say("all_of"), "persistence": False},
        ),
    )


def _add_headers(app: dash.Dash) -> None:
    """Nothing from elsewhere runs or loads, nothing is sent elsewhere, and no cache keeps money."""
    @app.server.after_request
    def headed(response: flask.Response) -> flask.Response:
        # Dash collects its inline scripts with the first request, so their hashes are not known before.
        scripts = " ".join(app.csp_hashes()) if response.mimetype == "text/html" else ""
        response.headers["Content-Security-Policy"] = (
            f"default-src 'self'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
            "font-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
            "object-src 'none'"
        )
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        if not flask.request.path.startswith("/_dash-component-suites/"):
            response.headers["Cache-Control"] = "no-store"
        return response


def _add_export(server: flask.Flask, read: Any, words: Words) -> None:
    @server.get("/export/<page>/<block>.csv")
    def export(page: str, block: str) -> flask.Response:
        asked = flask.request.args
        known = next((each for each in content.PAGES if each.key == page), None)
        if known is None:
            flask.abort(404)
        reading = read(asked.get("period"), **{name: asked.getlist(name) for name in content.EVERY_FILTER if name != "period" and name in known.filters})
        made = next((one for make in known.blocks if (one := make(reading, words)).key == block), None)
        if made is None or made.table is None:
            flask.abort(404)
        return flask.Response(
            csv_of(made.table), mimetype="text/csv",
            headers={"Content-Disposition": f'attachment; filename="{html_escape.escape(page)}-{html_escape.escape(block)}.csv"'},
        )
