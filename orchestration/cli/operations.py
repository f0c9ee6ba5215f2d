"""Operations: what came and what is published, what is wrong with a machine, the Dagster UI."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.cli.session import ERROR, OK, HomeOption, JsonOption, Session, app, session
from orchestration.cli.steps import receipts_of
from orchestration.console import shown
from orchestration.home import PROJECT

LEAST_FREE_BYTES = 2 * 2**30


@app.command()
def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """What was delivered, what waits, what is published."""
    with session(home, as_json) as here:
        from orchestration import raw_store
        from orchestration.contracts import FEEDS

        receipts = receipts_of(here)
        waiting = raw_store.pending(here.home)
        feeds = []
        for feed in FEEDS:
            own = [receipt for receipt in receipts if receipt.feed == feed]
            event_days = [day for receipt in own if receipt.status == "loaded" for day in receipt.event_days]
            feeds.append({
                "feed": feed, "delivery_count": len(own), "pending_count": sum(1 for file in waiting if file.feed == feed),
                "last_delivered_date": max((receipt.delivered_date for receipt in own), default=None),
                "last_event_day": max(event_days, default=None) if feed != "reference" else None,
                "loaded_count": sum(receipt.loaded_count for receipt in own if receipt.status == "loaded"),
                "quarantined_count": sum(receipt.quarantined_count for receipt in own),
                "superseded_count": sum(1 for receipt in own if receipt.status == "superseded"),
            })
        here.result |= {"home": here.home.root, "feeds": feeds, "published": _publication(here)}
        here.console.say(f"home {here.home.root}")
        here.console.table(
            ("feed", "deliveries", "waiting", "last delivered", "last event (UTC)", "loaded", "quarantined", "superseded"),
            [tuple(feed.values()) for feed in feeds],
        )
        published = here.result["published"]
        if published is None:
            here.console.say("nothing published yet: `tidegauge run`")
        else:
            here.console.say(
                f"published {shown(published['published_at'])}, week {published['iso_week']}, data as of "
                f"{shown(published['data_as_of'])}, run {published['run_id'][:8]}"
            )


def _publication(here: Session) -> dict[str, Any] | None:
    from orchestration import warehouse

    if not here.home.capacity.exists():
        return None
    with warehouse.open_published(here.home.capacity) as published:
        row = published.execute("select run_id, published_at, data_as_of, iso_week from meta.publication").fetchone()
    return dict(zip(("run_id", "published_at", "data_as_of", "iso_week"), row, strict=True))


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
        here.exit_code = OK if all(ok for _, ok, _, _ in checks) else ERROR


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
    parent = next(path for path in (here.home.root, *here.home.root.parents) if path.exists())
    free = shutil.disk_usage(parent).free
    return "free disk", free >= LEAST_FREE_BYTES, f"{free / 2**30:.1f} GiB", "free some space; a run needs about 2 GiB"


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
        return "no other process writes", False, str(locked), "wait for it to end, or end it"


def _check_leftovers(here: Session) -> Finding:
    wal = here.home.warehouse.with_name(here.home.warehouse.name + ".wal")
    damaged = sorted(here.home.root.glob("*.corrupt-*"))
    found = [f"{path.name}, {path.stat().st_size:,} bytes" for path in (wal, *damaged) if path.exists()]
    return (
        "nothing left by a killed run", not found, ", ".join(found) or "nothing",
        "`tidegauge run` replays a .wal; a .corrupt file was set aside and may be deleted once looked at",
    )


def _check_published(here: Session) -> Finding:
    import duckdb

    try:
        publication = _publication(here)
    except duckdb.Error as error:
        return "published file opens", False, str(error).splitlines()[0], "tidegauge publish; if that fails, tidegauge rebuild"
    return "published file opens", True, f"week {publication['iso_week']}" if publication else "nothing published yet", ""


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
    _check_versions, _check_home, _check_disk, _check_file_system, _check_lock, _check_leftovers, _check_published,
    _check_clock, _check_browser,
)


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
    home: HomeOption = None,
) -> None:
    """Open the Dagster UI on this machine (Ctrl-C ends it)."""
    with session(home, False) as here:
        from orchestration import definitions

        definitions.instance_of(here.home)
        environment = {**os.environ, "DAGSTER_HOME": str(here.home.dagster), "TIDEGAUGE_HOME": str(here.home.root)}
        here.console.say(f"http://127.0.0.1:{port}  (home {here.home.root})")
        os.chdir(PROJECT)
        os.execvpe(
            sys.executable,
            [sys.executable, "-m", "dagster", "dev", "-m", "orchestration.definitions", "-h", "127.0.0.1", "-p", str(port)],
            environment,
        )
