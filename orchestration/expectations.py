"""Great Expectations at raw: is a delivery what its contract and its past promise?

Suites are generated from ``contracts``; nothing here names a column. The strict parser has already
looked at every row, so this looks at a bounded sample and at each delivery's profile. A broken
contract blocks; an unusual profile warns. Importing Great Expectations costs seconds, so it happens
only where a suite runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq

from orchestration.contracts import SYSTEM_COLUMNS, Table
from orchestration.home import Home
from orchestration.raw_store import Receipt
from orchestration.warehouse import configure, identifier, raw_select

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_ROWS = 200_000
# Files are read until they hold this many rows, so cost does not grow with what was delivered.
SCANNED_ROWS = 2_000_000
REFERENCE_ROWS = 20_000
# A source's rows per hour swing by a factor of three over weekends and holidays; five is news.
UNUSUAL_ROWS_RATIO = 5
# A lost or doubled unit (thousand, million, bits for bytes) moves a mean by more than this.
UNUSUAL_MAGNITUDE_RATIO = 20
UNUSUAL_QUARANTINED_RATIO = 0.05
TRAILING_DELIVERIES = 28
FEWEST_EARLIER = 3
RULE_PREFIX = "rule: "
SHOWN_LINES = 20


@dataclass(frozen=True)
class ValidationOutcome:
    """The verdict on new deliveries of one table: what blocks, what only warns, how much was seen."""

    table_name: str
    delivery_count: int
    row_count: int
    sampled_count: int
    expectation_count: int
    failures: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing blocks."""
        return not self.failures


def validate(
    home: Home, table: Table, receipts: Sequence[Receipt], earlier: Sequence[Receipt] = ()
) -> ValidationOutcome:
    """Judges new deliveries of one table against its contract and against earlier deliveries.

    Deliveries that brought nothing but duplicates, or are declared empty, have no rows to judge.
    """
    row_count = sum(receipt.loaded_count for receipt in receipts)
    warnings = profile_warnings(receipts, earlier)
    if not any(receipt.received_count > receipt.duplicate_count for receipt in receipts):
        return ValidationOutcome(table.name, len(receipts), row_count, 0, 0, (), tuple(warnings))
    batch = sample(home, table, receipts, SAMPLE_ROWS)
    expectation_count, failures = run_suite(table, batch)
    if not row_count:
        failures = [f"{failure}; {_refused_lines(home, receipts)}" for failure in failures]
    past = [receipt for receipt in earlier if receipt.delivered_date >= _first_day(receipts) - timedelta(days=7)]
    if past:
        warnings += magnitude_warnings(table, batch, sample(home, table, past, REFERENCE_ROWS))
    return ValidationOutcome(
        table.name, len(receipts), row_count, len(batch), expectation_count, tuple(failures), tuple(warnings)
    )


def _refused_lines(home: Home, receipts: Sequence[Receipt]) -> str:
    """The first lines that were quarantined: file, line and reason of each."""
    said = []
    for receipt in receipts:
        path = home.quarantine / receipt.feed / f"{receipt.delivery_id}.parquet"
        if path.exists():
            lines = pq.read_table(path, columns=["line_number", "reason_code", "message"]).slice(0, SHOWN_LINES).to_pylist()
            said += [
                f"{receipt.delivery_name} line {line['line_number']}: {line['reason_code']}, {line['message']}"
                for line in lines
            ]
    return "; ".join(said[:SHOWN_LINES])


def _first_day(receipts: Sequence[Receipt]):
    return min(receipt.delivered_date for receipt in receipts)


# --- the sample ----------------------------------------------------------------------------------


def sample(home: Home, table: Table, receipts: Sequence[Receipt], limit: int) -> pd.DataFrame:
    """At most ``limit`` rows of these deliveries, the same ones every time, with one column per rule.

    Rows are chosen by the hash of their content, from deliveries spread evenly over those given.
    """
    chosen = _spread(receipts)
    available = sum(receipt.loaded_count for receipt in chosen)
    share = min(1.0, limit / available) if available else 1.0
    names = ", ".join(identifier(column.name) for column in (*SYSTEM_COLUMNS, *table.columns))
    rules = "".join(
        f", coalesce(({condition}), true) as {identifier(RULE_PREFIX + code)}" for code, condition, _ in table.rules
    )
    connection = duckdb.connect(":memory:")
    try:
        configure(connection, home)
        return connection.execute(
            f"select {names}{rules} from ({raw_select(connection, home, table, chosen)}) "
            f"where payload_hash % 1000000 < {round(share * 1_000_000)} "
            f"order by delivery_id, line_number limit {limit}"
        ).df()
    finally:
        connection.close()


def _spread(receipts: Sequence[Receipt]) -> list[Receipt]:
    """Deliveries spread evenly over those given, until they hold SCANNED_ROWS rows."""
    ordered = sorted(receipts, key=lambda receipt: (receipt.delivered_date, receipt.delivery_name, receipt.delivery_id))
    total = sum(receipt.loaded_count for receipt in ordered)
    if total <= SCANNED_ROWS:
        return ordered
    step = -(-total // SCANNED_ROWS)
    return ordered[::step]


# --- the suite -----------------------------------------------------------------------------------


def suite_of(table: Table) -> list[Any]:
    """The expectations that a table's contract amounts to."""
    from great_expectations import expectations as gxe

    system = [column.name for column in SYSTEM_COLUMNS]
    expected: list[Any] = [
        # An empty batch passes every other expectation.
        gxe.ExpectTableRowCountToBeBetween(min_value=1),
        gxe.ExpectTableColumnsToMatchSet(
            column_set=[*system, *(column.name for column in table.columns), *_rule_columns(table)], exact_match=True
        ),
        gxe.ExpectCompoundColumnsToBeUnique(column_list=["delivery_id", "source_id", "event_id"]),
    ]
    required = [*system, *(column.name for column in table.columns if column.required)]
    expected += [gxe.ExpectColumnValuesToNotBeNull(column=name) for name in required]
    for column in table.columns:
        if column.minimum is not None or column.maximum is not None:
            expected.append(gxe.ExpectColumnValuesToBeBetween(
                column=column.name, min_value=column.minimum, max_value=column.maximum
            ))
        if column.allowed:
            expected.append(gxe.ExpectColumnValuesToBeInSet(column=column.name, value_set=list(column.allowed)))
    expected += [gxe.ExpectColumnValuesToBeInSet(column=name, value_set=[True]) for name in _rule_columns(table)]
    return expected


def _rule_columns(table: Table) -> list[str]:
    return [RULE_PREFIX + code for code, _, _ in table.rules]


def run_suite(table: Table, batch: pd.DataFrame) -> tuple[int, list[str]]:
    """How many expectations were run on the batch, and one line for each that failed."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    definition = (
        context.data_sources.add_pandas("raw").add_dataframe_asset(table.name).add_batch_definition_whole_dataframe("new")
    )
    suite = gx.ExpectationSuite(name=table.name, expectations=suite_of(table))
    verdict = definition.get_batch({"dataframe": batch}).validate(suite)
    failures = [_said_of(table, result) for result in verdict.results if not result.success]
    return len(verdict.results), failures


def _said_of(table: Table, result: Any) -> str:
    """One failed expectation, in a line that says where, what, and how much."""
    config = result.expectation_config
    column = config.kwargs.get("column", "")
    if column.startswith(RULE_PREFIX):
        code = column.removeprefix(RULE_PREFIX)
        what = next(message for name, _, message in table.rules if name == code)
        column = ""
    else:
        what = config.type.removeprefix("expect_").replace("_", " ")
    where = f"{table.name}.{column}" if column else table.name
    if result.exception_info and result.exception_info.get("raised_exception"):
        return f"{where}: {what} could not be judged: {result.exception_info['exception_message']}"
    seen = result.result
    if "unexpected_count" in seen:
        examples = ", ".join(str(value) for value in seen.get("partial_unexpected_list", [])[:3])
        return f"{where}: {what} fails in {seen['unexpected_count']} of {seen['element_count']} rows, e.g. {examples}"
    return f"{where}: {what} fails, observed {seen.get('observed_value')}"


# --- the profile ---------------------------------------------------------------------------------


def profile_warnings(receipts: Sequence[Receipt], earlier: Sequence[Receipt]) -> list[str]:
    """Deliveries whose size or share of quarantined lines is far from what their source delivered before."""
    lines: list[str] = []
    past: dict[tuple[str, str], list[float]] = {}
    for receipt in _in_order(earlier):
        past.setdefault(_series_of(receipt), []).append(rows_per_hour(receipt))
    for receipt in _in_order(receipts):
        known = past.setdefault(_series_of(receipt), [])
        usual = median(known[-TRAILING_DELIVERIES:]) if len(known) >= FEWEST_EARLIER else 0
        rate = rows_per_hour(receipt)
        if usual and not usual / UNUSUAL_ROWS_RATIO <= rate <= usual * UNUSUAL_ROWS_RATIO:
            lines.append(
                f"{receipt.delivery_name} ({receipt.delivered_date}): {rate:,.1f} rows an hour, "
                f"where {_series_of(receipt)[1]} of {receipt.source_id} usually has {usual:,.1f}"
            )
        share = receipt.quarantined_count / receipt.received_count if receipt.received_count else 0
        if share > UNUSUAL_QUARANTINED_RATIO:
            lines.append(
                f"{receipt.delivery_name} ({receipt.delivered_date}): {share:.1%} of its lines are quarantined; "
                f"`tidegauge quarantine show {receipt.delivery_id[:12]}` says why"
            )
        known.append(rate)
    return _bounded(lines)


def _series_of(receipt: Receipt) -> tuple[str, str]:
    """Deliveries to compare: of one source and with one name but for its numbers.

    A source sends late records and corrections beside its hourly files, and those are smaller.
    """
    return receipt.source_id, re.sub(r"\d+", "#", receipt.delivery_name)


def _in_order(receipts: Iterable[Receipt]) -> list[Receipt]:
    return sorted(receipts, key=lambda receipt: (receipt.delivered_date, receipt.delivery_name, receipt.delivery_id))


def _bounded(lines: list[str]) -> list[str]:
    if len(lines) <= SHOWN_LINES:
        return lines
    return [*lines[:SHOWN_LINES], f"and {len(lines) - SHOWN_LINES} more"]


def rows_per_hour(receipt: Receipt) -> float:
    """Rows that a delivery brought, duplicates included, per hour of the days it touches."""
    return (receipt.loaded_count + receipt.duplicate_count) / (24 * max(1, len(receipt.event_days)))


def magnitude_warnings(table: Table, batch: pd.DataFrame, past: pd.DataFrame) -> list[str]:
    """Measures whose mean moved by orders of magnitude against the week before, source by source.

    A schema check passes a column that was divided by a million; this does not.
    """
    measured = [
        column.name for column in table.columns
        if column.unit is not None and batch[column.name].dtype.kind in "iuf" and past[column.name].dtype.kind in "iuf"
    ]
    if not measured:
        return []
    now = batch.groupby("source_id")[measured].mean().astype("float64")
    before = past.groupby("source_id")[measured].mean().astype("float64")
    lines = []
    for source_id in now.index.intersection(before.index):
        for name in measured:
            is_, was = now.at[source_id, name], before.at[source_id, name]
            if is_ > 0 and was > 0 and not 1 / UNUSUAL_MAGNITUDE_RATIO <= is_ / was <= UNUSUAL_MAGNITUDE_RATIO:
                lines.append(
                    f"{table.name}.{name} of {source_id}: mean {is_:.4g}, a week before {was:.4g}; was a unit changed?"
                )
    return _bounded(lines)
