"""Make calendars agree with the activities' rules: manage.py generate_open_days [--activity ID] [--from …] [--until …]."""

import datetime as dt
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.common.errors import Refused
from portal.common.formats import today
from services.calendars import generate_open_days
from services.models import Activity
from services.school_calendar import end_of_next_school_year, import_school_holidays


class Command(BaseCommand):
    help = "Ouvre les jours de chaque activité d’après ses règles, le calendrier scolaire et les jours fériés."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--activity", type=int, help="Le numéro d’une activité (toutes par défaut).")
        parser.add_argument(
            "--from", dest="first", type=dt.date.fromisoformat, help="AAAA-MM-JJ, aujourd’hui par défaut."
        )
        parser.add_argument(
            "--until", type=dt.date.fromisoformat, help="AAAA-MM-JJ, fin de la prochaine année scolaire par défaut."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        first = options["first"] or today()
        last = options["until"] or end_of_next_school_year(first)
        import_school_holidays(first.year - 1, last.year)
        activities = Activity.objects.with_deadlines().order_by("pk")
        if options["activity"] is not None:
            activities = activities.filter(pk=options["activity"])
            if not activities:
                raise CommandError(f"Aucune activité ne porte le numéro {options['activity']}.")
        for activity in activities:
            try:
                report = generate_open_days(activity=activity, first=first, last=last)
            except Refused as refusal:
                raise CommandError(str(refusal)) from refusal
            self.stdout.write(
                f"{activity} : {len(report.opened)} jours ouverts, {len(report.changed)} mis à jour, "
                f"{len(report.withdrawn)} retirés, {report.unchanged} inchangés."
            )
            for line in report.kept:
                self.stdout.write(self.style.WARNING(f"  gardé tel quel – {line}"))
