"""Load the demonstration's data: manage.py load_demo (what is there already is left alone)."""

import time
from typing import Any

from django.core.management.base import BaseCommand

from checkout.papers.tasks import issue_invoices, issue_papers
from portal.demo.data import load
from portal.demo.progress import seconds
from portal.outbox.actions import try_to_start


class Command(BaseCommand):
    help = "Charge les données de démonstration qui manquent."

    def handle(self, *args: Any, **options: Any) -> None:
        start = time.monotonic()
        load(lambda text: self.stdout.write(f"  {text}…"))
        # The papers of the months behind it, printed while the site is looked at; the night would do it, too.
        try_to_start(issue_papers, days=180)
        try_to_start(issue_invoices)
        self.stdout.write(f"Données de démonstration prêtes ({seconds(time.monotonic() - start)}).")
