"""Create the communes of the agglomération: manage.py load_communes."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.communes import load_communes


class Command(BaseCommand):
    help = "Crée les 72 communes de l’agglomération qui manquent."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{load_communes()} commune(s) créée(s).")
