"""What assets need from outside: the home folder."""

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
