"""What a deadline may not say, on its form and in the database; and what is shown of it before it is saved."""

import datetime as dt
from typing import Any

import pytest
from django.db import Error, connection

from accounts.models import User
from portal.common.formats import today
from services.deadline_preview import preview
from services.deadlines import cancel_sentence, check
from services.models import Activity, Deadline, SchoolHoliday, Service
from services.school_calendar import SchoolCalendar, import_school_holidays
from tests.admin.test_catalogue import edit, errors, saved
from tests.admin.world import client_of, url
from tests.factories import ActivityFactory, CommuneFactory, DeadlineFactory, ServiceFactory, agent_of
from tests.guards import guarded

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> User:
    return agent_of()


def eve(**fields: Any) -> Deadline:
    return DeadlineFactory(**{"name": "La veille à midi", "offset": 1, **fields})


def morning(**fields: Any) -> Deadline:
    return DeadlineFactory(**{"name": "Le matin même", "offset": 0, "time": dt.time(7), **fields})


class TestForm:
    def values(self, **values: Any) -> dict[str, Any]:
        return {"name": "Essai", "basis": "days", "offset": "1", "time": "12:00", **values}

    def test_a_second_limit_before_the_first_is_refused_with_a_date(self, operator: User) -> None:
        early = DeadlineFactory(name="Deux jours avant", offset=2, skip_weekends=False)
        sent = self.values(late=str(early.pk), surcharge="fixed", surcharge_amount="6")
        said = errors(client_of(operator).post(url("services.deadline", "add"), sent, follow=True))
        assert "vient avant celle du délai" in said and "choisissez-en une qui vient après" in said

    def test_a_second_limit_that_is_never_later_is_refused(self, operator: User) -> None:
        same = eve(skip_weekends=False, skip_holidays=False)
        said = errors(
            client_of(operator).post(url("services.deadline", "add"), self.values(late=str(same.pk)), follow=True)
        )
        assert "personne ne réserverait tard" in said

    def test_a_second_limit_that_moves_before_the_first_is_refused_too(self, operator: User) -> None:
        late = morning()
        eve(late=late)
        said = errors(edit(client_of(operator), "services.deadline", late, offset="9"))
        assert "Il est la réservation tardive de" in said and "La veille à midi" in said

    def test_no_third_limit(self, operator: User) -> None:
        client, late = client_of(operator), morning()
        first = eve(late=late)
        sent = self.values(offset="4", late=str(first.pk))
        assert "sans réservation tardive à son tour" in errors(
            client.post(url("services.deadline", "add"), sent, follow=True)
        )
        last = DeadlineFactory(name="Le soir même", offset=0, time=dt.time(20))
        assert "il n’en a pas à son tour" in errors(edit(client, "services.deadline", late, late=str(last.pk)))

    def test_no_place_is_cancelled_late(self, operator: User) -> None:
        client, late = client_of(operator), morning()
        rule, plain = eve(late=late), DeadlineFactory()
        service = ServiceFactory(cancel_deadline=plain)
        activity = ActivityFactory(service=service)
        for label, row in (("services.service", service), ("services.activity", activity)):
            assert "une annulation n’a qu’une limite" in errors(edit(client, label, row, cancel_deadline=str(rule.pk)))
        assert "une annulation n’a qu’une limite" in errors(edit(client, "services.deadline", plain, late=str(late.pk)))
        saved(edit(client, "services.service", service, booking_deadline=str(rule.pk)))

    def test_what_opens_after_it_closes(self, operator: User) -> None:
        sent = self.values(offset="20", opens_weeks="2")
        said = errors(client_of(operator).post(url("services.deadline", "add"), sent, follow=True))
        assert "l’ouverture (" in said and "viendrait après la limite (" in said


class TestPreview:
    def test_it_is_shown_and_nothing_is_written(self, operator: User) -> None:
        import_school_holidays(today().year - 1, today().year + 3)
        client = client_of(operator)
        sent = {"name": "Essai", "basis": "week", "weekday": "3", "offset": "0", "time": "12:00", "_preview": "1"}
        page = client.post(url("services.deadline", "add"), sent)
        words = page.content.decode().replace("\xa0", " ")
        assert page.status_code == 200 and "errornote" not in words
        assert "Réservable jusqu’au jeudi 12 h pour la semaine suivante." in words
        assert words.count("à 12 h</td>") == 5 and 'value="Essai"' in words
        assert not Deadline.objects.filter(name="Essai").exists()
        page = client.post(url("services.deadline", "add"), {**sent, "weekday": ""})
        assert "Complétez la règle" in page.content.decode() and "Choisissez le jour" in page.content.decode()

    def test_of_a_rule_that_exists_it_is_there_at_once(self, operator: User) -> None:
        rule = eve(late=morning())
        page = client_of(operator).get(url("services.deadline", "change", rule.pk)).content.decode()
        assert "Tardivement jusqu’au" in page and "Réservable à partir du</th>" not in page

    def test_telling_dates(self) -> None:
        import_school_holidays(today().year - 1, today().year + 3)
        rule = DeadlineFactory(name="x", offset=1, skip_school_holidays=True, opens_weeks=6)
        shown = preview(rule)
        kinds = [row.kind for row in shown.examples]
        assert kinds[:3] == ["Un lundi", "Un jeudi", "Au lendemain d’un jour férié"]
        assert kinds[3].startswith("Pendant les vacances") and kinds[4].startswith("À la rentrée après les vacances")
        assert shown.opens and not shown.late
        monday = shown.examples[0]
        assert monday.date.startswith("lundi") and monday.until.startswith("vendredi")

    def test_a_weekday_without_a_limit_is_said(self) -> None:
        rule = DeadlineFactory(basis="weekdays", weekday_limits=[600, *[None] * 6])
        assert "pas de limite fixée" in preview(rule).examples[1].until

    def test_holidays_too_far_away_for_an_example_are_passed_over(self) -> None:
        SchoolHoliday.objects.all().delete()
        first = today() + dt.timedelta(days=330)
        SchoolHoliday.objects.create(name="Vacances d’été", first_day=first, last_day=first + dt.timedelta(days=3))
        kinds = [row.kind for row in preview(DeadlineFactory()).examples]
        assert kinds[:2] == ["Un lundi", "Un jeudi"] and not any("Vacances" in kind for kind in kinds)
        assert not any("Pendant" in kind or "rentrée" in kind for kind in kinds)


def test_a_check_is_over_every_date() -> None:
    import_school_holidays(2026, 2027)
    first, last = dt.date(2026, 9, 1), dt.date(2027, 8, 31)
    calendar = SchoolCalendar.around(first, last)
    for rule in (eve(late=morning()), DeadlineFactory(basis="week", weekday=3, late=morning())):
        check(rule, first=first, last=last, calendar=calendar)


def test_cancelling_says_its_limit_alone() -> None:
    assert cancel_sentence(eve(late=morning(), skip_weekends=False, skip_holidays=False, opens_weeks=3)).endswith(
        "12\u00a0h"
    )


class TestDatabase:
    """Two writers at once, or a psql prompt."""

    def test_no_third_limit(self) -> None:
        late = morning()
        first, last = eve(late=late), DeadlineFactory(name="Le soir même", offset=0, time=dt.time(20))

        def fault() -> None:
            Deadline.objects.filter(pk=late.pk).update(late=last)

        guarded(
            "services.Deadline:late_is_the_last",
            fault,
            "a second limit has no third",
            lambda: Deadline.objects.filter(pk=first.pk, late__late__isnull=False).exists(),
        )
        with pytest.raises(Error, match="a second limit has no third"):
            DeadlineFactory(name="Encore un", offset=5, late=first)

    def test_rules_are_of_their_commune(self) -> None:
        service = ServiceFactory()
        activity = ActivityFactory(service=service)
        strange = DeadlineFactory(name="D’ailleurs", commune=CommuneFactory())
        late = morning(commune=strange.commune, name="Tard, d’ailleurs")
        own = eve(commune=service.commune, name="D’ici")
        for guard, model in (("service_names_its_rules", Service), ("activity_names_its_rules", Activity)):
            rows: Any = model.objects
            guarded(
                f"services.{model.__name__}:{guard}",
                lambda rows=rows: rows.update(booking_deadline=strange),
                "is another commune's",
                lambda rows=rows: rows.filter(booking_deadline=strange).exists(),
            )
        guarded(
            "services.Deadline:late_is_of_its_commune",
            lambda: Deadline.objects.filter(pk=own.pk).update(late=late),
            "is another commune's",
            lambda: Deadline.objects.filter(late=late).exists(),
        )
        # A service that changes its commune takes no rule of the old one along, nor do its activities.
        Activity.objects.filter(pk=activity.pk).update(booking_deadline=own)
        guarded(
            "services.Service:service_names_its_rules",
            lambda: Service.objects.filter(pk=service.pk).update(commune=strange.commune),
            "is another commune's",
            lambda: Service.objects.filter(commune=strange.commune).exists(),
        )

    def test_a_deadline_stays_with_its_commune(self) -> None:
        own = eve(commune=CommuneFactory())
        guarded(
            "services.Deadline:deadline_stays_with_its_commune",
            lambda: Deadline.objects.filter(pk=own.pk).update(commune=None),
            "Cannot update",
            lambda: Deadline.objects.filter(pk=own.pk, commune=None).exists(),
        )

    def test_cancelling_is_never_late(self) -> None:
        rule, plain = eve(late=morning()), DeadlineFactory()
        service = ServiceFactory(cancel_deadline=plain)
        activity = ActivityFactory(service=service, cancel_deadline=plain)
        for label, row in (("Service", service), ("Activity", activity)):
            model: Any = type(row)
            guarded(
                f"services.{label}:cancelling_is_never_late",
                lambda model=model: model.objects.update(cancel_deadline=rule),
                "are cancelled until one limit",
                lambda model=model: model.objects.filter(cancel_deadline__late__isnull=False).exists(),
            )
        guarded(
            "services.Deadline:late_is_the_last",
            lambda: Deadline.objects.filter(pk=plain.pk).update(late=rule.late),
            "are cancelled until its limit",
            lambda: Deadline.objects.filter(pk=plain.pk, late__isnull=False).exists(),
        )
        assert not connection.needs_rollback
