"""The commands that the runbook's pages end in, for the tests that make each incident and type them."""

from __future__ import annotations

import re
import shlex

from orchestration.home import PROJECT

PAGES = PROJECT / "docs" / "runbook"


def closing_command(page: str, **replaced: str) -> list[str]:
    """The words after ``tidegauge`` of the command that a page ends in.

    ``replaced`` changes words of the page's example (a file, a day) into those of the test's incident,
    by option (``first`` for --from, since from is a keyword) or, for an argument, ``argument``.
    """
    text = (PAGES / f"{page}.md").read_text("utf-8")
    block = re.search(r"```sh\n(tidegauge [^\n]*)\n```\s*\Z", text)
    assert block, f"{page}.md does not end in one command"
    words = shlex.split(block.group(1))[1:]
    options = {"first": "--from", "last": "--to", "as_of": "--as-of", "day": "--day", "mart": "--mart", "reason": "--reason"}
    for name, value in replaced.items():
        at = words.index(options[name]) + 1 if name in options else len(words) - 1
        words[at] = value
    return words
