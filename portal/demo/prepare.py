"""Bring the demonstration's database up to date: migrations, then the demo data, in one process.

Two `manage.py` calls would load the whole application twice, which is most of what a second start costs.
"""

import os

import django
from django.core.management import call_command

from portal.demo.progress import step


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    with step("Base de données : migrations"):
        call_command("migrate", interactive=False, verbosity=0)
    with step("Données de démonstration"):
        call_command("load_demo")


if __name__ == "__main__":
    main()
