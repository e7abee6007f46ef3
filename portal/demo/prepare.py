"""Bring the demonstration's database up to date: migrations, then the demo data, in one process.

Two `manage.py` calls would load the whole application twice, which is most of what a second start costs.
"""

import os
import re
from collections.abc import Callable
from io import StringIO

import django
from django.core.management import call_command

from portal.demo.progress import step


class Applying(StringIO):
    """Hears what `migrate` writes of its work, and names each application once it is reached."""

    def __init__(self, doing: Callable[[str], None]) -> None:
        super().__init__()
        self.doing = doing

    def write(self, text: str) -> int:
        if found := re.search(r"Applying (\w+)\.(\w+)", text):
            self.doing(f"{found[1]} {found[2].partition('_')[0]}")
        return super().write(text)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    with step("Base de données : migrations") as doing:
        call_command("migrate", interactive=False, stdout=Applying(doing), no_color=True)
    with step("Données de démonstration"):
        call_command("load_demo")


if __name__ == "__main__":
    main()
