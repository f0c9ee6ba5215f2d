"""Pages that open offline and ask for nothing: scripts and data inside, and a policy that lets only those run."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import orjson
import plotly.graph_objects as go


def script_text(path: Path) -> str:
    """A script that can stand inside a page; ValueError when it holds a tag that would end or comment it."""
    text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError(f"{path.name} can't be put into a page: it holds a tag that ends or comments a script")
    return text


def content_policy(*scripts: str) -> str:
    """Nothing is loaded, sent or submitted, and only these scripts run: a script in a name can't."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'none'; form-action 'none'; base-uri 'none'"
    )


def inline_json(data: Any) -> str:
    """JSON that can stand inside a script element whatever its texts hold."""
    return orjson.dumps(data).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def plain_figure(figure: go.Figure) -> dict[str, Any]:
    """A figure without the theme, which a page holds once."""
    plain = figure.to_plotly_json()
    plain["layout"].pop("template", None)
    return {"data": list(plain["data"]), "layout": plain["layout"]}
