"""Pages of the documentation site that say what the sources say: marts, raw tables, formats, commands.

Each function gives Markdown from the one place a thing is declared (dbt's manifest, ``contracts``,
``forecasting/tables``, the command line itself), so that the site cannot disagree with the program.
Pages written by hand are in ``docs/``; ``scripts/docs_pages.py`` puts both together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.charts import cell
from orchestration.contracts import TABLES, Column, duckdb_type
from orchestration.finance.payback import CAPITAL_PAYBACK
from orchestration.forecasting.matching_tables import MATCHING_MONEY_TABLES, MATCHING_TABLES
from orchestration.forecasting.tables import TABLES as FORECAST_TABLES
from orchestration.restatements import COLUMNS as RESTATEMENT_COLUMNS
from orchestration.restatements import DESCRIPTION as RESTATEMENT_DESCRIPTION
from orchestration.sources.registry import FORMATS

SCHEMAS = {
    "capacity": "Capacity and demand, in tokens, hours and accelerators. Holds no price, cost or margin.",
    "finance": "Money: prices, cost, margin, packages, capital. In `published/finance.duckdb` only.",
    "quality": "What came, what was refused, what adds up and what was restated. In both published files.",
}


@dataclass(frozen=True)
class Mart:
    """One published table as a reader needs to know it."""

    schema: str
    name: str
    description: str
    columns: tuple[tuple[str, str, str, str], ...]
    written_by: str


def marts(manifest: Mapping[str, Any]) -> list[Mart]:
    """Every published table, of dbt and of Python, in order of schema and name."""
    found = [
        Mart(
            node["schema"], node["name"], node["description"],
            tuple(
                (column["name"], column.get("data_type") or "", unit_of(column), column.get("description") or "")
                for column in node["columns"].values()
            ),
            node["original_file_path"],
        )
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["schema"] in SCHEMAS
    ]
    written = [("capacity", (*FORECAST_TABLES, *MATCHING_TABLES)), ("finance", (CAPITAL_PAYBACK, *MATCHING_MONEY_TABLES))]
    for schema, table in [(schema, table) for schema, tables in written for table in tables]:
        found.append(Mart(
            schema, table.name, f"Grain: {', '.join(table.grain)}. {table.description}",
            tuple((c.name, duckdb_type(c.dtype), c.unit or "", c.description) for c in table.columns), "orchestration/",
        ))
    found.append(Mart(
        "quality", "fct_restatements", RESTATEMENT_DESCRIPTION,
        tuple((name, type_.lower(), "", meaning) for name, type_, meaning in RESTATEMENT_COLUMNS),
        "orchestration/restatements.py",
    ))
    return sorted(found, key=lambda mart: (mart.schema, mart.name))


def unit_of(column: Mapping[str, Any]) -> str:
    """The unit that a dbt column declares; nothing for what is not measured."""
    meta = column.get("config", {}).get("meta") or column.get("meta") or {}
    return meta.get("unit", "")


def mart_page(schema: str, found: Iterable[Mart]) -> str:
    """The dictionary of one schema: each table with its grain, and each column with type, unit and meaning."""
    own = [mart for mart in found if mart.schema == schema]
    lines = [f"# {schema} marts", "", SCHEMAS[schema], "", "| table | rows are |", "|---|---|"]
    lines += [f"| [{cell(mart.name)}](#{mart.name}) | {cell(_grain(mart.description))} |" for mart in own]
    for mart in own:
        lines += ["", f"## {mart.name} {{ #{mart.name} }}", "", _flowing(mart.description), "", f"Written by `{mart.written_by}`.", ""]
        lines += _column_table(mart.columns)
    return "\n".join(lines) + "\n"


def raw_page() -> str:
    """Every raw table of the contracts: grain, columns, ranges."""
    lines = [
        "# Raw tables", "",
        "What each feed's parser must produce, and what a strict parser refuses. Declared in `orchestration/contracts.py`.",
    ]
    for table in TABLES.values():
        lines += [
            "", f"## {table.name} {{ #{table.name} }}", "", f"Feed `{table.feed}`. One row per {', '.join(table.grain)}.", "",
            _flowing(table.description), "",
        ]
        lines += _column_table(
            (c.name, duckdb_type(c.dtype).lower(), c.unit or "", f"{c.description} {_limits(c)}".strip()) for c in table.columns
        )
        if table.rules:
            lines += ["", "A row must also hold these, or it goes to quarantine:", ""]
            lines += [f"- `{reason}`: {cell(message)}" for reason, _sql, message in table.rules]
    return "\n".join(lines) + "\n"


def formats_page() -> str:
    """Every format that a delivery may have."""
    lines = [
        "# Formats", "",
        "Told from a file's content; `--format` names one. Each is one module of `orchestration/sources/`.", "",
        "| feed | format | raw table | what it is |", "|---|---|---|---|",
    ]
    for name, format in sorted(FORMATS.items(), key=lambda item: (item[1].table.feed, item[0])):
        table = format.table
        lines.append(
            f"| {cell(table.feed)} | `{name}` | [{cell(table.name)}](raw-tables.md#{table.name}) | {cell(format.description)} |"
        )
    return "\n".join(lines) + "\n"


def commands_page(app: Any) -> str:
    """Every command with its arguments and options, as the command line itself describes them."""
    lines = [
        "# Commands", "",
        ("Exit codes: 0 ok, 1 error, 2 the audit blocked publishing, 3 locked by another process, 130 interrupted. Every "
         "command takes `--home DIR`; `--json` gives one document on standard output. An error ends in the next step."),
    ]
    for path, command in _commands(app):
        lines += ["", f"## tidegauge {path}", "", _flowing(command.help or ""), ""]
        parameters = [p for p in command.params if p.name not in ("home", "as_json", "help")]
        if parameters:
            lines += ["| option | meaning |", "|---|---|"]
            lines += [f"| `{_spelling(p)}` | {cell(_flowing(getattr(p, 'help', None) or ''))} |" for p in parameters]
    return "\n".join(lines) + "\n"


def _commands(app: Any) -> list[tuple[str, Any]]:
    import typer.main

    found: list[tuple[str, Any]] = []

    def walk(command: Any, path: Sequence[str]) -> None:
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                walk(child, [*path, name])
        else:
            found.append((" ".join(path), command))

    walk(typer.main.get_command(app), [])
    return found


def _spelling(parameter: Any) -> str:
    names = [option for option in parameter.opts if option.startswith("--")]
    return names[0] if names else (parameter.metavar or parameter.name).upper()


def _column_table(columns: Iterable[tuple[str, str, str, str]]) -> list[str]:
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    return lines + [f"| `{name}` | {cell(type_)} | {cell(unit)} | {cell(_flowing(text))} |" for name, type_, unit, text in columns]


def _limits(column: Column) -> str:
    parts = ["Required."] if column.required else []
    if column.allowed:
        parts.append(f"One of {', '.join(column.allowed)}.")
    if column.minimum is not None or column.maximum is not None:
        low = "any" if column.minimum is None else f"{column.minimum:g}"
        high = "any" if column.maximum is None else f"{column.maximum:g}"
        parts.append(f"From {low} to {high}.")
    return " ".join(parts)


def _grain(description: str) -> str:
    """The sentence that says what a row is: after the list of keys, or the list itself."""
    sentences = re.split(r"(?<=\.)\s+", _flowing(description))
    return next((sentence for sentence in sentences if sentence.startswith("One row")), sentences[0])


def _flowing(text: str) -> str:
    return " ".join(text.split())
