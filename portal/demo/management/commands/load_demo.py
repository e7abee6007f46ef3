"""Load the demonstration's data: manage.py load_demo (what is there already is left alone)."""

import time
from typing import Any

from django.core.management.base import BaseCommand

from portal.demo.data import load
from portal.demo.progress import seconds


class Command(BaseCommand):
    help = "Charge les données de démonstration qui manquent."

    def handle(self, *args: Any, **options: Any) -> None:
        start = time.monotonic()
        load(lambda text: self.stdout.write(f"  {text}…"))
        self.stdout.write(f"Données de démonstration prêtes ({seconds(time.monotonic() - start)}).")
