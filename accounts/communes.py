"""Loading the real communes of the agglomération."""

import csv
from pathlib import Path

from django.db import transaction

from accounts.models import Commune

COMMUNES = Path(__file__).parent / "data/communes-puy-en-velay.csv"


@transaction.atomic
def load_communes() -> int:
    """Create the communes of the packaged list that are not in the table yet; returns how many were created."""
    known = set(Commune.objects.values_list("insee_code", flat=True))
    created = 0
    with COMMUNES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["code_insee"] not in known:
                Commune.objects.create(
                    insee_code=row["code_insee"],
                    name=row["nom"],
                    postal_code=row["code_postal"],
                    population=int(row["population"]),
                )
                created += 1
    return created
