"""Where one installation keeps its files: every path under the home folder, named once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DBT_PROJECT = PROJECT / "dbt_project"


# The published files; what each holds is in warehouse.py.
EDITIONS = ("capacity", "finance")


@dataclass(frozen=True)
class Home:
    """The home folder: ``data/`` of the project, or what TIDEGAUGE_HOME names."""

    root: Path

    @classmethod
    def from_environment(cls) -> Home:
        """The home that the environment names."""
        return cls(Path(os.environ.get("TIDEGAUGE_HOME") or PROJECT / "data").absolute())

    @property
    def landing(self) -> Path:
        """Deliveries as received: landing/<feed>/<UTC day delivered>/<name>."""
        return self.root / "landing"

    @property
    def raw(self) -> Path:
        """Committed Parquet and receipts: raw/<table>/event_day=<day>/, raw/_receipts/<feed>/."""
        return self.root / "raw"

    @property
    def quarantine(self) -> Path:
        """Rejected lines, one Parquet file a delivery: quarantine/<feed>/<delivery_id>.parquet."""
        return self.root / "quarantine"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file that dbt builds in; disposable."""
        return self.root / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        """What readers open: capacity.duckdb and finance.duckdb."""
        return self.root / "published"

    @property
    def capacity(self) -> Path:
        """The published capacity edition, which holds no money."""
        return self.published / "capacity.duckdb"

    @property
    def finance(self) -> Path:
        """The published finance edition: prices, cost and margin."""
        return self.published / "finance.duckdb"

    def edition(self, name: str) -> Path:
        """The published file of an edition: capacity or finance."""
        return {"capacity": self.capacity, "finance": self.finance}[name]

    @property
    def last_audit(self) -> Path:
        """How the last try to publish went: run, time, and the checks that failed; it is beside what it judged."""
        return self.published / "last_audit.json"

    @property
    def history(self) -> Path:
        """What was published when: history/<edition>/<publish>/; only ever added to, and kept by rebuild."""
        return self.root / "history"

    @property
    def reports(self) -> Path:
        """Weekly reports: reports/weekly/<ISO week>.html."""
        return self.root / "reports"

    @property
    def margin_page(self) -> Path:
        """The margin dashboard as one file; it holds money, so only its group may read it."""
        return self.reports / "margin-dashboard.html"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME: the persistent instance, so that every run shows in the UI."""
        return self.root / "dagster"

    @property
    def temporary(self) -> Path:
        """Scratch space on the same file system; anything in it may be deleted between runs."""
        return self.root / "tmp"

    @property
    def truth(self) -> Path:
        """What the simulator planted, for tests: simulation/truth.json."""
        return self.root / "simulation"
