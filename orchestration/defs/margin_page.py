"""The margin dashboard's page to print: written with every publish, for readers who may see money."""

import dagster as dg

from orchestration.defs.resources import OWNERS, HomeFolder


class MarginPageConfig(dg.Config):
    """The language of the page: en or zh."""

    language: str = "en"


@dg.asset(
    key=["reports", "margin_dashboard"], deps=[["published", "finance"]], group_name="publish", kinds={"plotly", "html"},
    owners=OWNERS["publish"] + OWNERS["finance"],
    description=(
        "reports/margin-dashboard.html: the pages of the margin dashboard as one file that opens offline. Only its group "
        "may read it, as the finance edition; `tidegauge dashboard` serves the same pages with filters."
    ),
)
def margin_dashboard(home_folder: HomeFolder, config: MarginPageConfig) -> dg.MaterializeResult:
    """Writes the page from the published finance file."""
    # Drawing libraries cost a second to import, and only this step draws.
    from dashboards.margin_dashboard.static_page import write_static_page

    home = home_folder.home
    out = write_static_page(home.finance, home.margin_page, config.language)
    return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(out), "byte_count": out.stat().st_size})
