"""Named points at which a test may end the process, as a power cut would.

``TIDEGAUGE_FAULT=publish:before_replace`` kills the process when it gets there. Without the variable
a point costs one look into the environment. No other kinds of fault belong here.
"""

from __future__ import annotations

import os
import signal


def point(name: str) -> None:
    """Kills this process without any clean-up when the environment names this point."""
    if os.environ.get("TIDEGAUGE_FAULT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
