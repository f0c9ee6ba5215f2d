"""Models: one @dbt_assets for everything from staging to marts, run by one dbt process."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtCliInvocation,
    dbt_assets,
)
from dagster_dbt.asset_utils import get_updated_cli_invocation_params_for_context
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from dbt.version import __version__ as dbt_version
from packaging.version import Version

from orchestration import dbt_runs, warehouse
from orchestration.contracts import TABLES
from orchestration.defs.resources import OWNERS, HomeFolder
from orchestration.home import Home
from orchestration.progress import Progress, report
from orchestration.sql import count, identifier


class Translator(DagsterDbtTranslator):
    """Names dbt's nodes the way the rest of the pipeline does."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """layer/name for models and seeds; a raw table is its feed's asset, the ledger is raw/receipts."""
        name = dbt_resource_props["name"]
        if dbt_resource_props["resource_type"] == "source":
            return dg.AssetKey(["raw", TABLES[name].feed if name in TABLES else "receipts"])
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """seeds, staging, intermediate or marts."""
        if dbt_resource_props["resource_type"] == "seed":
            return "seeds"
        return dbt_resource_props["fqn"][1]

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """The team that answers for a layer, or for a schema of the marts."""
        group = self.get_group_name(dbt_resource_props)
        return OWNERS[dbt_resource_props["schema"] if group == "marts" else group]

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """dbt's own metadata, with the unit of each column in its description."""
        metadata = dict(super().get_metadata(dbt_resource_props))
        schema = metadata.get("dagster/column_schema")
        if schema is not None:
            units = {name: unit_of(column) for name, column in dbt_resource_props["columns"].items()}
            metadata["dagster/column_schema"] = dg.TableSchema(columns=[
                dg.TableColumn(
                    column.name, column.type, f"{column.description} Unit: {units[column.name]}." if units[column.name] else
                    column.description, tags=column.tags,
                )
                for column in schema.columns
            ])
        return metadata


def unit_of(column: Mapping[str, Any]) -> str | None:
    """The unit that a column's YAML gives."""
    meta = column.get("config", {}).get("meta") or column.get("meta") or {}
    return meta.get("unit")


MANIFEST = dbt_runs.read_manifest(dbt_runs.prepared_manifest(Home.from_environment()))
TRANSLATOR = Translator(DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True))


@dbt_assets(manifest=MANIFEST, dagster_dbt_translator=TRANSLATOR, name="dbt_build", pool="warehouse_writer")
def dbt_models(context: dg.AssetExecutionContext, home_folder: HomeFolder) -> Iterator[Any]:
    """Staging, intermediate and marts, rebuilt from the days that changed."""
    home = home_folder.home
    with warehouse.writer_lock(home):
        prepared = warehouse.prepare(home)
        context.log.info(
            f"{prepared.delivery_count} deliveries, {prepared.dirty_day_count} table-days to rebuild"
        )
        yield from _build(context, home, prepared)
        yield from _row_counts(context, home)
        if not context.is_subset:
            warehouse.mark_built(home)


def _row_counts(context: dg.AssetExecutionContext, home: Home) -> Iterator[dg.AssetObservation]:
    """Rows of each mart that was built; counted once dbt is done, since it holds the file until then."""
    marts = [key for key in sorted(context.selected_asset_keys) if key.path[0] in warehouse.MART_SCHEMAS]
    with warehouse.connect(home, read_only=True) as connection:
        for key in marts:
            schema, name = map(identifier, key.path)
            yield dg.AssetObservation(
                key, metadata={"dagster/row_count": count(connection, f"select count(*) from {schema}.{name}")}
            )


def _build(context: dg.AssetExecutionContext, home: Home, prepared: warehouse.Prepared) -> Iterator[Any]:
    selection = get_updated_cli_invocation_params_for_context(
        context=context, manifest=MANIFEST, dagster_dbt_translator=TRANSLATOR
    )
    target = dbt_runs.target_folder(home)
    environment = dbt_runs.environment(home, target)
    if selection.indirect_selection:
        environment["DBT_INDIRECT_SELECTION"] = selection.indirect_selection
    # DbtCliResource.cli would load dbt into this process as well, only to offer row counts.
    invocation = DbtCliInvocation.run(
        args=[str(dbt_runs.EXECUTABLE), *dbt_runs.build_arguments(prepared), *selection.selection_args],
        env=environment, manifest=MANIFEST, dagster_dbt_translator=TRANSLATOR,
        project_dir=dbt_runs.DBT_PROJECT, target_path=target, raise_on_error=True, context=context,
        adapter=None, cli_version=Version(dbt_version),
    )
    total = len(context.selected_asset_keys)
    done = 0
    try:
        for event in invocation.stream():
            if isinstance(event, dg.Output):
                done += 1
                name = context.asset_key_for_output(event.output_name).to_user_string()
                report(Progress("advanced", "dbt_build", done, total, name))
            yield event
    except DagsterDbtCliRuntimeError:
        found = dbt_runs.failed_tests(home, target)
        if not found:
            raise
        raise dbt_runs.DbtFailed(found) from None
