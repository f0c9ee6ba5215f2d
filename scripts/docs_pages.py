"""A hook of mkdocs: adds the pages that are made from the sources to those written by hand in docs/.

``make docs`` builds the site. What a page says comes from ``orchestration/documentation.py``; the home
page is README.md, and the lineage is dbt's own static page, one file that needs no network.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from orchestration import dbt_runs, documentation
from orchestration.cli import app
from orchestration.home import DBT_PROJECT, PROJECT, Home
from orchestration.warehouse import project_hash

LINEAGE = """\
# Models and lineage

Every dbt model from staging to marts with its SQL, columns, tests and the graph between them is in
[dbt's own documentation](dbt/index.html), one page that works offline.

The graph of all assets, from landing files to reports, with runs and checks, is in the Dagster UI: `make dev`.
"""


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages."""
    manifest = json.loads(dbt_runs.prepared_manifest(Home.from_environment()).read_text("utf-8"))
    marts = documentation.marts(manifest)
    pages = {
        "index.md": _home_page(),
        "commands.md": documentation.commands_page(app),
        "formats.md": documentation.formats_page(),
        "raw-tables.md": documentation.raw_page(),
        **{f"marts/{schema}.md": documentation.mart_page(schema, marts) for schema in documentation.SCHEMAS},
        "lineage.md": LINEAGE,
        "decisions.md": (PROJECT / "DECISIONS.md").read_text("utf-8"),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    files.append(File.generated(config, "dbt/index.html", abs_src_path=str(_dbt_docs())))
    return files


def _home_page() -> str:
    """README.md, whose links to docs/ are links within the site here."""
    return re.sub(r"\]\(docs/", "](", (PROJECT / "README.md").read_text("utf-8"))


def _dbt_docs() -> Path:
    """dbt's static page of the project as it is now; made once for each state of the project."""
    made = dbt_runs.TARGET / f"docs-{project_hash()[:16]}.html"
    if made.exists():
        return made
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        target = home.root / "target"
        target.mkdir()
        # Without compiling, dbt reads the manifest that is there.
        (target / "manifest.json").write_bytes(dbt_runs.prepared_manifest(home).read_bytes())
        # No warehouse is opened: types and descriptions are in the YAML.
        finished = subprocess.run(
            [str(dbt_runs.EXECUTABLE), "docs", "generate", "--static", "--empty-catalog", "--no-compile"],
            env=dbt_runs.environment(home, target), cwd=DBT_PROJECT, capture_output=True, text=True, check=False,
        )
        page = target / "static_index.html"
        if finished.returncode != 0 or not page.exists():
            raise dbt_runs.DbtFailed(f"dbt can't write its documentation:\n{finished.stdout[-2000:]}{finished.stderr[-2000:]}")
        for old in dbt_runs.TARGET.glob("docs-*.html"):
            old.unlink()
        aside = dbt_runs.TARGET / f".docs-{os.getpid()}.html"
        aside.write_bytes(page.read_bytes())
        os.replace(aside, made)
    return made
