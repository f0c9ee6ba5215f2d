"""Exports: what a spreadsheet may see, what is exact, who may read it, and the FOCUS file.

On small published files made here. Whether the charges are right is dbt's unit tests' affair.
"""

from __future__ import annotations

import csv
import io
import stat
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.exports import FOCUS_TABLE, export, export_focus
from orchestration.home import DBT_PROJECT

FOCUS_YAML = DBT_PROJECT / "models" / "marts" / "finance" / "focus.yml"
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
STARTS = st.sampled_from(["", "=", "+", "-", "@", "\t", "\r", "\n", "'", '"', ","])


def published(folder: Path, *statements: str, schema: str = "capacity") -> Path:
    """A published file with one schema and what the statements make in it."""
    path = folder / "edition.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create schema {schema}")
        for statement in statements:
            connection.execute(statement)
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file, as text."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@settings(max_examples=10, deadline=None)
@given(texts=st.lists(st.tuples(STARTS, CELLS).map("".join), min_size=1, max_size=40))
def test_any_text_survives_a_csv_and_none_begins_a_formula(tmp_path_factory, texts):
    """Whoever names a tenant may name it =HYPERLINK(...); the finance department opens the file."""
    folder = tmp_path_factory.mktemp("export")
    path = published(folder, "create table capacity.t (place integer, name varchar)")
    with duckdb.connect(str(path)) as connection:
        connection.executemany("insert into capacity.t values (?, ?)", list(enumerate(texts)))
    export(path, folder, "csv", ["capacity.t"])
    written = [row["name"] for row in sorted(rows_of(folder / "capacity.t.csv"), key=lambda row: int(row["place"]))]
    assert [cell for cell in written if cell[:1] in tuple("=+-@\t\r\n")] == []
    harmless = [cell[1:] if cell[1:2] in tuple("=+-@\t\r\n") and cell[0] == "'" and text[:1] != "'" else cell
                for cell, text in zip(written, texts, strict=True)]
    assert harmless == texts


@given(amounts=st.lists(st.decimals(min_value=-(10**22), max_value=10**22, places=15), min_size=1, max_size=30))
@settings(max_examples=10, deadline=None)
def test_decimals_are_text_without_exponent_and_come_back_exactly(tmp_path_factory, amounts):
    """1E-9 CNY read as a float, or a sum of nation size rounded, and the books no longer close."""
    folder = tmp_path_factory.mktemp("export")
    values = ", ".join(f"({amount:f}::decimal(38, 15))" for amount in amounts)
    path = published(folder, f"create table capacity.t as select * from (values {values}) as v (amount)")
    export(path, folder, "csv", ["capacity.t"])
    export(path, folder, "parquet", ["capacity.t"])
    written = [row["amount"] for row in rows_of(folder / "capacity.t.csv")]
    assert not any("e" in cell.lower() for cell in written)
    assert sorted(map(Decimal, written)) == sorted(amounts)
    assert sorted(pq.read_table(folder / "capacity.t.parquet")["amount"].to_pylist()) == sorted(amounts)


def test_what_holds_money_is_named_so_and_only_its_group_reads_it(tmp_path):
    """Margin that lies in a folder for all to read is margin that a competitor has."""
    path = published(
        tmp_path, "create table finance.m as select 1 as cny", "create schema quality",
        "create table quality.r as select 2 as cny", schema="finance",
    )
    # A file that lay there before, readable by all, is replaced and not written into.
    (tmp_path / "finance.m.csv").touch(mode=0o666)
    written = export(path, tmp_path, "csv", ["finance.m", "quality.r"])
    assert [item.path.name for item in written] == ["finance.m.csv", "finance.quality.r.csv"]
    assert {stat.S_IMODE(item.path.stat().st_mode) for item in written} == {0o640}
    assert list(tmp_path.glob(".*.part")) == []


# --- FOCUS ---------------------------------------------------------------------------------------


@pytest.fixture
def charges(tmp_path: Path) -> Path:
    """A finance edition with the FOCUS mart as its contract has it: three charges, and two restatements."""
    (model,) = yaml.safe_load(FOCUS_YAML.read_text("utf-8"))["models"]
    columns = ", ".join(f'"{column["name"]}" {column["data_type"]}' for column in model["columns"])
    path = published(
        tmp_path, f"create table {FOCUS_TABLE} ({columns})", "create schema capacity", "create schema quality",
        "create table capacity.dim_site as select 'cn-zj' as site_id, 'Zhejiang' as site_name",
        "create table quality.fct_restatements (restated_at timestamp, run_id varchar, usage_date date, reason varchar,"
        " mart varchar, site_id varchar, metric varchar, before decimal(38, 9), after decimal(38, 9))",
        schema="finance",
    )
    with duckdb.connect(str(path)) as connection:
        for number, (day, billed) in enumerate(
            [(date(2026, 10, 31), "0.000000001"), (date(2026, 11, 1), "4.05"), (date(2026, 11, 2), "-6")]
        ):
            connection.execute(
                f"insert into {FOCUS_TABLE} by name select ? as \"x_ChargeId\", ?::timestamp - interval 8 hours as "
                '"ChargePeriodStart", ?::decimal(38, 9) as "BilledCost", ?::decimal(38, 9) as "EffectiveCost", '
                "'tenant-1' as \"SubAccountId\", 'tenant-1' as \"BillingAccountId\", 'Operator' as \"ProviderName\", "
                "'Operator' as \"PublisherName\", 'CNY' as \"BillingCurrency\", 1500000 as \"ConsumedQuantity\", "
                "'Usage' as \"ChargeCategory\", '=1+1' as \"ChargeDescription\"",
                [str(number), day, billed, billed],
            )
    return path


def restate(path: Path, *rows: tuple[str, str, str, str, str, str]) -> None:
    """Lists figures as moved: restated_at, usage_date, site_id, metric, before, after."""
    with duckdb.connect(str(path)) as connection:
        for row in rows:
            connection.execute(
                "insert into quality.fct_restatements select ?, 'run', ?, 'price of October', 'finance.fct_margin_daily', "
                "?, ?, ?, ?", row,
            )


def focus(path: Path, version: str = "1.2", first: date | None = None, last: date | None = None) -> list[dict[str, str]]:
    """The FOCUS file as rows of text."""
    stream = io.BytesIO()
    export_focus(path, stream, version, "csv", first, last)
    return list(csv.DictReader(io.StringIO(stream.getvalue().decode("utf-8"), newline="")))


def test_the_columns_are_the_standards_in_its_order_then_ours(charges):
    """A FinOps tool reads by name; FOCUS wants its own columns before custom ones."""
    columns = list(focus(charges)[0])
    standard = [column for column in columns if not column.startswith("x_")]
    assert columns[:len(standard)] == sorted(standard)
    assert {"ProviderName", "PublisherName", "InvoiceIssuerName"} <= set(columns)


def test_version_1_4_has_the_names_that_replaced_the_removed_ones(charges):
    """FOCUS 1.4 removed ProviderName and PublisherName; a 1.4 reader finds nobody by them."""
    old, new = focus(charges), focus(charges, "1.4")
    assert set(old[0]) - set(new[0]) == {"ProviderName", "PublisherName"}
    assert set(new[0]) - set(old[0]) == {"ServiceProviderName", "HostProviderName"}
    assert new[0]["ServiceProviderName"] == new[0]["HostProviderName"] == "Operator"
    standard = [column for column in new[0] if not column.startswith("x_")]
    assert standard == sorted(standard)
    with pytest.raises(ValueError, match=r"1\.2 or 1\.4"):
        focus(charges, "2.0")


def test_instants_are_utc_decimals_are_exact_and_text_is_no_formula(charges):
    """An exponent or a local time would be another amount or another day to who reads it."""
    first, second, _ = focus(charges)
    assert first["ChargePeriodStart"] == "2026-10-30T16:00:00Z"
    assert first["BilledCost"] == "0.000000001"
    assert second["BilledCost"] == "4.050000000"
    # A reader that guesses types must guess decimal, which FOCUS demands, from every quantity.
    assert second["ConsumedQuantity"] == "1500000.000000"
    assert second["ChargeDescription"] == "'=1+1"


def test_days_are_business_days_and_both_ends_count(charges):
    """A day too many is a charge billed twice."""
    assert [row["x_ChargeId"] for row in focus(charges, first=date(2026, 11, 1), last=date(2026, 11, 1))] == ["1"]
    assert [row["x_ChargeId"] for row in focus(charges, first=date(2026, 11, 1))] == ["1", "2"]
    assert [row["x_ChargeId"] for row in focus(charges, last=date(2026, 10, 31))] == ["0"]


def test_a_figure_restated_after_its_month_is_adjusted_in_the_month_that_found_it(charges):
    """The ended month must still add up to what was invoiced, and the difference must be billed once."""
    restate(
        charges,
        # 10 CNY of list price more, 1 more of it discount, and 0.5 of a package: found in November.
        ("2026-11-20 02:00:00", "2026-10-31", "cn-zj", "list_revenue_cny", "100", "110"),
        ("2026-11-20 02:00:00", "2026-10-31", "cn-zj", "discount_cny", "10", "11"),
        ("2026-11-20 02:00:00", "2026-10-31", "cn-zj", "package_revenue_cny", "3", "3.5"),
        # Cost is no charge.
        ("2026-11-20 02:00:00", "2026-10-31", "cn-zj", "cost_cny", "3", "4"),
        # November is not over: its charges are simply what is known now.
        ("2026-11-20 02:00:00", "2026-11-01", "cn-zj", "list_revenue_cny", "1", "2"),
    )
    adjustments = [row for row in focus(charges) if row["ChargeCategory"] == "Adjustment"]
    assert [
        (row["BillingPeriodStart"], row["ChargeClass"], row["ListCost"], row["BilledCost"], row["EffectiveCost"])
        for row in sorted(adjustments, key=lambda row: row["BillingPeriodStart"])
    ] == [
        ("2026-09-30T16:00:00Z", "", "-10.000000000", "-9.000000000", "-9.500000000"),
        ("2026-10-31T16:00:00Z", "Correction", "10.000000000", "9.000000000", "9.500000000"),
    ]
    for row in adjustments:
        assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2026-10-30T16:00:00Z", "2026-10-31T16:00:00Z")
        assert (row["RegionId"], row["RegionName"], row["SubAccountId"]) == ("cn-zj", "Zhejiang", "")
        assert "price of October" in row["ChargeDescription"]
    assert len({row["x_ChargeId"] for row in adjustments}) == 2


def test_a_parquet_file_has_decimals_and_instants_for_its_group_only(charges, tmp_path):
    """A DOUBLE would round money, and an instant without zone is read in the reader's own."""
    out = tmp_path / "focus.parquet"
    assert export_focus(charges, out, "1.2", "parquet") == 3
    table = pq.read_table(out)
    assert str(table.schema.field("BilledCost").type) == "decimal128(38, 9)"
    assert table["ChargePeriodStart"].to_pylist()[0].astimezone().timestamp() == datetime.fromisoformat("2026-10-30T16:00:00+00:00").timestamp()
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
