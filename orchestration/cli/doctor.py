"""``tidegauge doctor``: what breaks runs, found before a run finds it; each finding with the next command."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestration.cli.session import ERROR, OK, HomeOption, JsonOption, Session, app, session
from orchestration.cli.steps import publication_of, receipts_of
from orchestration.console import shown
from orchestration.home import EDITIONS, Home

LEAST_FREE_BYTES = 2 * 2**30
# A DuckDB file: "DUCK" after an 8-byte checksum, then the storage version, then the library that wrote it.
MAGIC, MAGIC_AT, STORAGE_VERSION_AT, LIBRARY_AT = b"DUCK", 8, 12, 52


@app.command()
def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Look for what breaks runs: versions, disk, locks, leftovers, clock, browser."""
    with session(home, as_json) as here:
        checks = [check(here) for check in DOCTOR_CHECKS]
        here.result["checks"] = [
            {"check": name, "ok": ok, "found": found, "next_step": "" if ok else next_step}
            for name, ok, found, next_step in checks
        ]
        here.console.table(
            ("", "check", "found", "next step"),
            [("ok" if ok else "!!", name, found, "" if ok else next_step) for name, ok, found, next_step in checks],
        )
        failed = [check for check in checks if not check[1]]
        here.console.say(
            f"{len(failed)} of {len(checks)} checks failed; next: {failed[0][3]}" if failed else "all is well"
        )
        here.exit_code = ERROR if failed else OK


Finding = tuple[str, bool, str, str]


def _check_versions(_here: Session) -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    names = ("tidegauge", "dagster", "dbt-core", "duckdb", "polars", "great-expectations", "plotly")
    found, missing = [f"Python {sys.version.split()[0]}"], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    return "versions", not missing, ", ".join(found), f"missing: {', '.join(missing)}; run `make setup`"


def _check_home(here: Session) -> Finding:
    root = here.home.root
    parent = next(path for path in (root, *root.parents) if path.exists())
    return "home can be written", os.access(parent, os.W_OK), str(root), "name another with --home or TIDEGAUGE_HOME"


def _check_disk(here: Session) -> Finding:
    """A build spills, and a publish writes both editions aside before it moves them over the old."""
    parent = next(path for path in (here.home.root, *here.home.root.parents) if path.exists())
    free = shutil.disk_usage(parent).free
    files = (here.home.warehouse, *(here.home.edition(name) for name in EDITIONS))
    needed = LEAST_FREE_BYTES + 2 * sum(path.stat().st_size for path in files if path.exists())
    return (
        "free disk", free >= needed, f"{free / 2**30:.1f} GiB of {needed / 2**30:.1f} GiB that a run may need",
        "free some space, then run the same command again; readers see the last good files meanwhile",
    )


def _check_file_system(here: Session) -> Finding:
    """DuckDB's locks do not hold on a network file system."""
    kind = _file_system_of(here.home.root)
    network = kind.startswith(("nfs", "cifs", "smb", "fuse.sshfs", "9p", "afs"))
    return "home is on a local disk", not network, kind or "not known on this system", "move the home to a local disk"


def _file_system_of(path: Path) -> str:
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    best = ("", "")
    for line in mounts.read_text("utf-8", errors="replace").splitlines():
        _device, mount, kind, *_ = line.split(" ")
        mount = mount.encode().decode("unicode_escape")
        if path.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


def _check_lock(here: Session) -> Finding:
    from orchestration import warehouse

    if not here.home.root.exists():
        return "no other process writes", True, "no home yet", ""
    try:
        with warehouse.writer_lock(here.home):
            return "no other process writes", True, "free", ""
    except warehouse.WarehouseLocked as locked:
        return (
            "no other process writes", False, str(locked),
            "wait for it to end; if it hangs, `kill` the pid it names (the lock ends with it), then `tidegauge run`",
        )


def _check_warehouse(here: Session) -> Finding:
    """A damaged file is found here before a night's run finds it; it is only looked at, and not moved."""
    import duckdb

    from orchestration import warehouse

    name, path = "the warehouse opens", here.home.warehouse
    if not path.exists():
        return name, True, "none yet", ""
    try:
        duckdb.connect(str(path), read_only=True).close()
    except duckdb.Error as error:
        if warehouse.is_damage(error):
            return (
                name, False, str(error).splitlines()[0],
                "tidegauge run: it sets the damaged file aside and builds a new one from raw",
            )
        return name, True, f"in use: {str(error).splitlines()[0]}", ""
    return name, True, f"{path.stat().st_size / 2**20:,.0f} MiB", ""


def _check_storage(here: Session) -> Finding:
    """A newer DuckDB reads files of an older one, not the other way round."""
    import duckdb

    ours = _release(duckdb.__version__)
    found, newer = [], []
    for path in (here.home.warehouse, *(here.home.edition(name) for name in EDITIONS)):
        header = storage_of(path)
        if header is not None:
            storage_version, library = header
            found.append(f"{path.name} storage {storage_version} by {library}")
            if _release(library) > ours:
                newer.append(path.name)
    return (
        "files are of this DuckDB or an older one", not newer, ", ".join(found) or "no file yet",
        f"{', '.join(newer)} cannot be read by DuckDB {duckdb.__version__}: `make setup` installs the locked one, then `tidegauge rebuild`",
    )


def storage_of(path: Path) -> tuple[int, str] | None:
    """Storage version and writing library of a DuckDB file, from its header; None when it is not one."""
    if not path.exists():
        return None
    with path.open("rb") as stream:
        head = stream.read(LIBRARY_AT + 32)
    if head[MAGIC_AT:MAGIC_AT + len(MAGIC)] != MAGIC:
        return None
    version = int.from_bytes(head[STORAGE_VERSION_AT:STORAGE_VERSION_AT + 8], "little")
    return version, head[LIBRARY_AT:].rstrip(b"\0").decode("ascii", errors="replace") or "an older library"


def _release(version: str) -> tuple[int, ...]:
    """Major and minor of a version like v1.5.6; nothing of what is not one."""
    parts = version.removeprefix("v").split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()


def _check_runs(here: Session) -> Finding:
    """A run whose process is gone holds its place in the pool until someone ends its record."""
    name = "no run is stuck"
    if not (here.home.dagster / "dagster.yaml").exists():
        return name, True, "no run yet", ""
    from orchestration import definitions

    stuck = definitions.stuck_runs(here.home)
    return (
        name, not stuck, ", ".join(f"run {run_id[:8]} since {shown(since)}" for run_id, since in stuck) or "none",
        "`tidegauge run` ends the records of killed commands and frees what they held; `tidegauge dev` ends others",
    )


def _check_leftovers(here: Session) -> Finding:
    """A log that was not checkpointed, files set aside as damaged, scratch and asides of killed runs."""
    home = here.home
    wal = home.warehouse.with_name(home.warehouse.name + ".wal")
    kept = [path for path in (wal, *sorted(home.root.glob("*.corrupt-*"))) if path.exists()]
    kept += sorted(home.published.glob(".edition-*"))
    found = [f"{path.name}, {path.stat().st_size:,} bytes" for path in kept]
    found += [f"history of an unfinished publish: {path.name}" for path in _unfinished(home)]
    return (
        "nothing left by a killed run", not found, ", ".join(found) or "nothing",
        "`tidegauge run` replays a .wal and clears the rest; a .corrupt file was set aside and may be deleted once looked at",
    )


def _unfinished(home: Home) -> list[Path]:
    return [path for name in EDITIONS for path in sorted((home.history / name).glob(".pending-*"))]


def _check_published(here: Session) -> Finding:
    """Both editions open and are of the same publish."""
    import duckdb

    from orchestration import warehouse

    name, repair = "published files open and belong together", "tidegauge publish; if that fails, tidegauge rebuild"
    runs = set()
    for edition in EDITIONS:
        path = here.home.edition(edition)
        try:
            runs.add(warehouse.publication_of(path).run_id if path.exists() else None)
        except (duckdb.Error, ValueError) as error:
            return name, False, f"{path.name}: {str(error).splitlines()[0]}", repair
    if runs == {None}:
        return name, True, "nothing published yet", ""
    return name, len(runs) == 1, f"week {publication_of(here)['iso_week']}" if len(runs) == 1 else "of two publishes", repair


def _check_clock(here: Session) -> Finding:
    """A clock that is behind makes fresh events look as if they came from the future."""
    now = datetime.now(UTC).replace(tzinfo=None)
    latest = max((receipt.ingested_at for receipt in receipts_of(here)), default=now)
    zone = f"{now:%Y-%m-%d %H:%M} UTC, local zone {os.environ.get('TZ') or datetime.now().astimezone().tzname()}"
    return (
        "the clock has not gone back", latest <= now + timedelta(minutes=5), zone,
        f"something was ingested at {latest:%Y-%m-%d %H:%M} UTC; set the clock",
    )


def _check_browser(_here: Session) -> Finding:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    for bundle in ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"):
        found = found or (bundle if Path(bundle).exists() else None)
    return "browser (for pictures and browser tests)", found is not None, found or "none", "scripts/setup --browser"


DOCTOR_CHECKS: tuple[Callable[[Session], Finding], ...] = (
    _check_versions, _check_home, _check_disk, _check_file_system, _check_lock, _check_runs, _check_leftovers,
    _check_warehouse, _check_storage, _check_published, _check_clock, _check_browser,
)
