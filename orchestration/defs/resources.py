"""What assets need from outside: the home folder, and who answers for them."""

from pathlib import Path

import dagster as dg

from orchestration.home import Home


class HomeFolder(dg.ConfigurableResource):
    """The home folder of a run: the one its config names, else the environment's."""

    root: str = ""

    @property
    def home(self) -> Home:
        """The home, resolved when a run asks for it and not when the code is loaded."""
        return Home(Path(self.root)) if self.root else Home.from_environment()


RESOURCES = {"home_folder": HomeFolder()}

# Who answers for what a group shows; a team that sees its asset fail knows that it is its own.
OWNERS = {
    "raw": ["team:data-engineering"], "seeds": ["team:capacity-planning"],
    "staging": ["team:data-engineering"], "intermediate": ["team:data-engineering"],
    "capacity": ["team:capacity-planning"], "finance": ["team:finance"], "quality": ["team:data-engineering"],
    "forecast": ["team:capacity-planning"], "publish": ["team:data-engineering"], "reports": ["team:capacity-planning"],
}
