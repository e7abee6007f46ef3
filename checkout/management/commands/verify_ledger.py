"""Recompute the ledger: manage.py verify_ledger. Exit status 1 on any difference; what is overdue is told beside it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from checkout.verification import verify, what_is_overdue
from portal.common.db import one_moment
from wallet.models import Entry, Movement, Wallet


class Command(BaseCommand):
    help = "Recalcule tous les mouvements et tous les soldes ; échoue à la moindre différence."

    def handle(self, *args: Any, **options: Any) -> None:
        with one_moment():  # families go on paying meanwhile
            differences = list(verify())
            overdue = list(what_is_overdue())
        for sentence in differences:
            self.stderr.write(self.style.ERROR(sentence))
        if overdue:
            self.stderr.write(self.style.WARNING("En retard (les comptes n’en sont pas faussés)\u00a0:"))
        for sentence in overdue:
            self.stderr.write(self.style.WARNING(f"- {sentence}"))
        if differences:
            raise CommandError(f"Le grand livre a {len(differences)} différence(s).")
        self.stdout.write(
            f"Le grand livre est juste : {Movement.objects.count()} mouvements, {Entry.objects.count()} écritures, "
            f"{Wallet.objects.count()} porte-monnaie."
        )
