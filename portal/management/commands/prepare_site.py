"""The first set-up of an installation: manage.py prepare_site (run again, it only says what is still missing)."""

from typing import Any

from django.core.management.base import BaseCommand

from portal import installation


class Command(BaseCommand):
    help = (
        "Charge ce qui est commun à toute installation de l’agglomération (communes, univers, délais, packs de crédits, "
        "vacances scolaires), sans toucher à ce qui existe, et dit ce qui manque encore."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        for kind, created in installation.prepare().items():
            self.stdout.write(f"{kind.capitalize()} : {f'{created} de plus' if created else 'rien à ajouter'}.")
        sentences = installation.missing()
        if not sentences:
            self.stdout.write(self.style.SUCCESS("Il ne manque rien : les familles peuvent réserver et payer."))
            return
        self.stdout.write("\nIl manque encore :")
        for sentence in sentences:
            self.stdout.write(self.style.WARNING(f"- {sentence}"))
