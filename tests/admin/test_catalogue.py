"""Configuring services: forged posts, rules of the database as sentences, calendars, texts, roles."""

import datetime as dt
from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.test import Client
from django.utils import timezone
from django.utils.text import capfirst

from accounts.models import StaffRole, Terms, User
from bookings.closures.models import Closure
from portal.common.formats import PARIS, long_date, today
from services.deadlines import moment_for, sentence
from services.models import (
    AccessProfile,
    Activity,
    ActivityPeriod,
    Deadline,
    OpenDay,
    SchoolHoliday,
    Service,
    Slot,
    Tariff,
)
from services.school_calendar import SchoolCalendar, import_school_holidays
from tests.admin.world import Town, book, client_of, form_values, texts, url
from tests.factories import (
    ActivityFactory,
    CategoryFactory,
    DeadlineFactory,
    OpenDayFactory,
    TermsFactory,
    UserFactory,
    only_open,
)

pytestmark = pytest.mark.django_db


def edit(client: Client, label: str, row: Any, **values: Any) -> Any:
    """Open a row's page, change some boxes, and post what a browser would."""
    address = url(label, "change", row.pk)
    return client.post(address, {**form_values(client.get(address)), **values}, follow=True)


def errors(response: Any) -> str:
    """Everything the page says is wrong."""
    assert response.status_code == 200
    assert not response.redirect_chain
    said = str(response.context["adminform"].form.errors)
    return said + "".join(str(inline.formset.errors) for inline in response.context["inline_admin_formsets"])


def saved(response: Any) -> None:
    assert response.redirect_chain, errors(response)


def service_values(**values: Any) -> dict[str, Any]:
    deadline = str(DeadlineFactory().pk)
    empty = {"profiles-TOTAL_FORMS": "0", "profiles-INITIAL_FORMS": "0", "booking_deadline": deadline}
    empty["cancel_deadline"] = deadline
    return {"name": "Garderie", "slug": "garderie", "category": str(CategoryFactory().pk), **empty, **values}


# --- Another commune's rows --------------------------------------------------------------------------------------------


def test_an_agent_adds_a_service_to_their_own_commune_only(rosieres: Town, aiguilhe: Town, operator: User) -> None:
    client = client_of(rosieres.agent)
    for commune in (str(aiguilhe.commune.pk), "", "999999"):
        answer = client.post(url("services.service", "add"), service_values(commune=commune), follow=True)
        assert "commune" in errors(answer)
    assert not Service.objects.filter(slug="garderie").exists()
    values = service_values(commune=str(rosieres.commune.pk))
    saved(client.post(url("services.service", "add"), values, follow=True))
    service = Service.objects.get(slug="garderie")
    assert service.commune == rosieres.commune
    # Nor is it given away, or to the agglomération, later.
    edit(client, "services.service", service, commune=str(aiguilhe.commune.pk))
    edit(client, "services.service", service, commune="")
    service.refresh_from_db()
    assert service.commune == rosieres.commune
    saved(client_of(operator).post(url("services.service", "add"), service_values(slug="velo"), follow=True))
    assert Service.objects.get(slug="velo").commune is None


def test_forged_relations_are_refused(rosieres: Town, aiguilhe: Town) -> None:
    client, other = client_of(rosieres.agent), aiguilhe.rows
    before = (Activity.objects.count(), Tariff.objects.count(), OpenDay.objects.count(), Slot.objects.count())
    deadline = str(DeadlineFactory().pk)
    activity = {
        "service": other["services.service"].pk, "name": "Faux", "slug": "faux", "unit_name": "date", "position": "0",
        "weekdays": ["2"], "term": "school", "capacity": "5", "kind": "calendar", "booking_deadline": deadline,
        "cancel_deadline": deadline, "slots-TOTAL_FORMS": "0", "slots-INITIAL_FORMS": "0",
    }  # fmt: skip
    assert "service" in errors(client.post(url("services.activity", "add"), activity, follow=True))
    grid = {"service": other["services.service"].pk, "name": "Faux", "first_day": "01/09/2031", "rank_basis": "none"}
    assert "service" in errors(client.post(url("services.tariffgrid", "add"), grid, follow=True))
    tariff = {"slot": other["services.slot"].pk, "profile": other["services.accessprofile"].pk, "price": "0.01"}
    answer = edit(
        client, "services.tariffgrid", rosieres.rows["services.tariffgrid"],
        **{f"tariffs-0-{name}": value for name, value in tariff.items()},
    )  # fmt: skip
    assert "slot" in errors(answer) and "profile" in errors(answer)
    day = {"activity": other["services.activity"].pk, "date": "08/09/2027", "capacity": "5", "is_open": "on"}
    assert "activity" in errors(client.post(url("services.openday", "add"), day, follow=True))
    slot = {"activity": other["services.activity"].pk, "name": "Faux", "starts_at": "08:00", "ends_at": "09:00"}
    assert "activity" in errors(client.post(url("services.slot", "add"), {**slot, "position": "0"}, follow=True))
    after = (Activity.objects.count(), Tariff.objects.count(), OpenDay.objects.count(), Slot.objects.count())
    assert after == before


def test_every_change_of_a_strangers_row_is_not_found(rosieres: Town, aiguilhe: Town) -> None:
    client = client_of(rosieres.agent)
    for label in ("service", "accessprofile", "activity", "slot", "tariffgrid", "openday"):
        label = f"services.{label}"
        own, strange = rosieres.rows[label], aiguilhe.rows[label]
        values = form_values(client.get(url(label, "change", own.pk)))
        assert client.post(url(label, "change", strange.pk), values).status_code == 404, label
        status = client.post(url(label, "delete", strange.pk), {"post": "yes"}).status_code
        assert status == 404, label
        assert type(strange)._default_manager.filter(pk=strange.pk).exists()
    generate = url("services.activity", "generate", aiguilhe.rows["services.activity"].pk)
    assert client.get(generate).status_code == client.post(generate).status_code == 404


def test_an_inline_does_not_reach_a_strangers_row(rosieres: Town, aiguilhe: Town) -> None:
    client, strange = client_of(rosieres.agent), aiguilhe.rows["services.accessprofile"]
    service = rosieres.rows["services.service"]
    forged = {"profiles-0-id": str(strange.pk), "profiles-0-label": "Volé"}
    answer = edit(client, "services.service", service, **forged)
    assert "Volé" not in AccessProfile.objects.values_list("label", flat=True)
    assert "profiles" in str(answer.context) or answer.status_code in (200, 404)
    # The parent of a new line is the page's row, whatever the form says.
    added = {
        "profiles-TOTAL_FORMS": "2", "profiles-1-label": "Glissé", "profiles-1-position": "1",
        "profiles-1-service": str(aiguilhe.rows["services.service"].pk),
    }  # fmt: skip
    edit(client, "services.service", service, **added)
    assert not AccessProfile.objects.filter(service=aiguilhe.rows["services.service"], label="Glissé").exists()


def test_a_row_that_would_leave_the_commune_is_rolled_back(rosieres: Town, monkeypatch: Any) -> None:
    """The net under the forms: were one to offer a stranger's row, nothing would be written."""
    from accounts import admin_base

    monkeypatch.setattr(admin_base.Scoped, "get_field_queryset", lambda *args: None)
    from tests.admin.world import town

    coubon = town("Coubon")
    client = client_of(rosieres.agent)
    values = service_values(commune=str(coubon.commune.pk))
    assert client.post(url("services.service", "add"), values).status_code == 403
    assert not Service.objects.filter(slug="garderie").exists()


# --- Rules of the database as sentences --------------------------------------------------------------------------------


def test_a_day_keeps_the_places_that_are_taken(rosieres: Town) -> None:
    client, day = client_of(rosieres.agent), rosieres.rows["services.openday"]
    assert "1 place est déjà prise" in errors(edit(client, "services.openday", day, capacity="0"))
    saved(edit(client, "services.openday", day, capacity="1"))
    day.refresh_from_db()
    assert (day.capacity, day.taken, day.by_hand) == (1, 1, True)
    # Given back to the calendar, unless a closure is in force that a person has passed over.
    assert "Une fermeture est en vigueur" in errors(edit(client, "services.openday", day, by_hand=""))
    Closure.objects.update(status="undone", ended_at=timezone.now(), ended_by=rosieres.agent)
    saved(edit(client, "services.openday", day, by_hand=""))
    day.refresh_from_db()
    assert not day.by_hand


def test_places_taken_in_between_are_a_sentence_too(rosieres: Town, monkeypatch: Any) -> None:
    """The form saw fewer places taken than the database: its CHECK answers, and the page says so."""
    from services.calendar_forms import OpenDayForm

    day = rosieres.rows["services.openday"]
    monkeypatch.setattr(OpenDayForm, "clean_capacity", lambda form: form.cleaned_data["capacity"])
    answer = edit(client_of(rosieres.agent), "services.openday", day, capacity="0")
    assert "prises entre-temps" in errors(answer)
    day.refresh_from_db()
    assert day.capacity == 20


def test_an_unknown_refusal_of_the_database_is_a_sentence(rosieres: Town, monkeypatch: Any) -> None:
    from django.db import IntegrityError

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise IntegrityError("something unheard of")

    monkeypatch.setattr(Slot, "save", refuse)
    answer = edit(client_of(rosieres.agent), "services.slot", rosieres.rows["services.slot"], name="Soir")
    assert "rien n’a été enregistré" in errors(answer)


def test_closing_a_day_says_why_and_a_booked_one_needs_a_closure(rosieres: Town) -> None:
    client, day = client_of(rosieres.agent), rosieres.rows["services.openday"]
    assert "fermez-le par" in errors(edit(client, "services.openday", day, is_open="", closed_reason="Grève"))
    free = OpenDayFactory(activity=day.activity, date=day.date + dt.timedelta(days=1))
    assert "Écrivez pourquoi" in errors(edit(client, "services.openday", free, is_open=""))
    saved(edit(client, "services.openday", free, is_open="", closed_reason="Grève"))


def test_a_day_by_hand_has_the_activitys_deadlines(rosieres: Town) -> None:
    client, activity = client_of(rosieres.agent), rosieres.rows["services.activity"]
    values = {"activity": str(activity.pk), "date": "16/06/2027", "capacity": "5", "is_open": "on"}
    saved(client.post(url("services.openday", "add"), values, follow=True))
    day = OpenDay.objects.get(activity=activity, date=dt.date(2027, 6, 16))
    assert day.by_hand
    assert f"{day.book_until:%Y-%m-%d %H:%M %Z}" == "2027-06-14 10:00 UTC"
    assert "déjà ce jour" in errors(client.post(url("services.openday", "add"), values, follow=True))


def test_a_deadline_by_weekday_is_written_and_read_back(operator: User) -> None:
    """Cunac: Monday and Tuesday until Thursday 10:00, Thursday and Friday until Tuesday 10:00."""
    client = client_of(operator)
    values = {"name": "Cunac", "basis": "weekdays", "offset": "0", "time": "12:00", "weekday": "2"}
    for number, limit in {0: 3, 1: 3, 3: 1, 4: 1}.items():
        values |= {f"limit_{number}_weekday": str(limit), f"limit_{number}_time": "10:00"}
    saved(client.post(url("services.deadline", "add"), values, follow=True))
    row = Deadline.objects.get(name="Cunac")
    assert row.weekday is None
    assert sentence(row) == "jusqu’au jeudi 10 h pour lundi et mardi, jusqu’au mardi 10 h pour jeudi et vendredi"
    saved(edit(client, "services.deadline", row, limit_2_weekday="0", limit_2_time="09:30"))
    row.refresh_from_db()
    assert row.weekday_limits == [4920, 4920, 570, 1080 + 960, 2040, None, None]
    assert "le jour et l’heure" in errors(edit(client, "services.deadline", row, limit_5_weekday="1"))
    # Another basis forgets them.
    saved(edit(client, "services.deadline", row, basis="days", offset="2"))
    row.refresh_from_db()
    assert row.weekday_limits is None


def test_a_changed_deadline_reaches_the_days_to_come_at_once(rosieres: Town, operator: User) -> None:
    """Of whoever uses the rule: its page says who, before; and how many days followed, after."""
    client, activity = client_of(operator), rosieres.rows["services.activity"]
    rule, day = activity.service.booking_deadline, rosieres.rows["services.openday"]
    page = client.get(url("services.deadline", "change", rule.pk)).content.decode()
    assert f">{rosieres.rows['services.service']}</a>" in page and "les limites de 1 jour à venir" in page
    answer = edit(client, "services.deadline", rule, offset="1", time="09:30")
    assert any("Les limites de 1 activité et 1 jour à venir ont été recalculées" in said for said in texts(answer))
    day.refresh_from_db()
    calendar = SchoolCalendar.around(day.date, day.date)
    rule.refresh_from_db()
    assert day.book_until == moment_for(rule, day.date, calendar=calendar) and day.book_until.minute == 30
    # A name moves nothing, and is not said to.
    answer = edit(client, "services.deadline", rule, name="La veille au matin")
    assert not any("recalculées" in said for said in texts(answer))
    # Another rule, for the activity and then for its service.
    agent, other = client_of(rosieres.agent), DeadlineFactory(name="Le matin même", offset=0, time=dt.time(7))
    answer = edit(agent, "services.activity", activity, booking_deadline=str(other.pk))
    assert any("recalculées" in said for said in texts(answer))
    assert not any("générez" in said for said in texts(answer))
    day.refresh_from_db()
    assert day.book_until.astimezone(PARIS).time() == dt.time(7)
    answer = edit(agent, "services.service", rosieres.rows["services.service"], cancel_deadline=str(other.pk))
    assert any("recalculées" in said for said in texts(answer))
    assert (
        "Aucun service" in client.get(url("services.deadline", "change", DeadlineFactory(name="x").pk)).content.decode()
    )


def test_a_mairie_makes_its_own_deadlines(rosieres: Town, aiguilhe: Town) -> None:
    """It reads those that all share, and never sees another's."""
    client, shared = client_of(rosieres.agent), DeadlineFactory(name="Partagé")
    values = {"name": "Cunac", "basis": "week", "weekday": "3", "offset": "0", "time": "12:00"}
    for commune in ("", str(aiguilhe.commune.pk)):
        assert "commune" in errors(
            client.post(url("services.deadline", "add"), values | {"commune": commune}, follow=True)
        )
    saved(client.post(url("services.deadline", "add"), values | {"commune": str(rosieres.commune.pk)}, follow=True))
    own = Deadline.objects.get(name="Cunac")
    assert own.commune == rosieres.commune
    again = client.post(url("services.deadline", "add"), values | {"commune": str(rosieres.commune.pk)}, follow=True)
    assert "Un délai de ce nom existe déjà." in errors(again)
    listed = client.get(url("services.deadline", "changelist")).content.decode()
    assert "Cunac" in listed and "Partagé" in listed and "Délai de Aiguilhe" not in listed
    page = client.get(url("services.deadline", "change", shared.pk))
    assert page.status_code == 200 and 'name="_save"' not in page.content.decode()
    words = page.content.decode().replace("\xa0", " ")
    assert "Jusqu’à deux jours avant" in words and "Voir l’aperçu" not in words
    assert client.post(url("services.deadline", "change", shared.pk), values).status_code == 403
    assert client.post(url("services.deadline", "delete", shared.pk), {"post": "yes"}).status_code == 403
    # Its services and activities choose among these alone.
    service, activity = rosieres.rows["services.service"], rosieres.rows["services.activity"]
    strange = str(aiguilhe.rows["services.deadline"].pk)
    for label, row in (("services.service", service), ("services.activity", activity)):
        page = client.get(url(label, "change", row.pk)).content.decode()
        assert "Cunac" in page and "Délai de Aiguilhe" not in page
        assert "booking_deadline" in errors(edit(client, label, row, booking_deadline=strange))
        saved(edit(client, label, row, booking_deadline=str(own.pk)))
    # Who shares a rule with others reads of them nothing.
    page = client.get(url("services.deadline", "change", DeadlineFactory().pk)).content.decode()
    assert str(service) in page and str(aiguilhe.rows["services.service"]) not in page


def test_a_rule_without_a_limit_for_an_open_day_is_refused_on_the_form(rosieres: Town, operator: User) -> None:
    day = rosieres.rows["services.openday"]
    rule = rosieres.rows["services.service"].booking_deadline
    other = (day.date.weekday() + 1) % 7
    values = {"basis": "weekdays", f"limit_{other}_weekday": "0", f"limit_{other}_time": "10:00"}
    assert "ne fixe pas de limite pour le" in errors(edit(client_of(operator), "services.deadline", rule, **values))
    rule.refresh_from_db()
    day.refresh_from_db()
    assert rule.basis == "days" and day.book_until == rosieres.rows["services.openday"].book_until


def test_school_holidays_move_the_limits(rosieres: Town, operator: User) -> None:
    day = rosieres.rows["services.openday"]
    rule = rosieres.rows["services.service"].booking_deadline
    rule.skip_school_holidays = True
    rule.save()
    first = day.date - dt.timedelta(days=10)
    values = {
        "name": "Congé",
        "first_day": f"{first:%d/%m/%Y}",
        "last_day": f"{day.date - dt.timedelta(days=1):%d/%m/%Y}",
    }
    client = client_of(operator)
    answer = client.post(url("services.schoolholiday", "add"), values, follow=True)
    assert any("recalculées" in said for said in texts(answer))
    assert any("générez ceux de chaque activité" in said for said in texts(answer))
    day.refresh_from_db()
    assert day.book_until.astimezone(PARIS).date() < first
    answer = client.post(
        url("services.schoolholiday", "delete", SchoolHoliday.objects.get().pk), {"post": "yes"}, follow=True
    )
    assert any("recalculées" in said for said in texts(answer))
    day.refresh_from_db()
    assert day.book_until.astimezone(PARIS).date() >= first


@pytest.mark.parametrize(
    "values, words",
    [
        ({"basis": "weekdays"}, "Fixez la limite d’au moins un jour."),
        ({"basis": "week"}, "Choisissez le jour de la semaine précédente."),
        ({"basis": "holidays", "offset": "3", "opens_weeks": "3"}, "plus de semaines avant les vacances que la limite"),
        ({"basis": "days", "surcharge": "added"}, "Choisissez jusqu’à quand on peut réserver tardivement"),
    ],
)
def test_a_deadline_that_is_none(operator: User, values: dict[str, str], words: str) -> None:
    sent = {"name": "x", "offset": "0", "time": "12:00", **values}
    assert words in errors(client_of(operator).post(url("services.deadline", "add"), sent, follow=True))


def test_other_sentences(rosieres: Town, operator: User) -> None:
    client, own = client_of(operator), rosieres.rows
    slots = {"slots-0-starts_at": "12:00", "slots-0-ends_at": "08:00"}
    assert "La fin doit venir après" in errors(edit(client, "services.activity", own["services.activity"], **slots))
    holiday = {"name": "x", "first_day": "02/01/2027", "last_day": "01/01/2027"}
    assert "avant le premier" in errors(client.post(url("services.schoolholiday", "add"), holiday, follow=True))
    assert "plus de zéro" in errors(client.post(url("wallet.topuppack", "add"), {"amount": "0"}, follow=True))
    assert not SchoolHoliday.objects.exists()


def test_what_is_used_is_not_deleted(rosieres: Town) -> None:
    client = client_of(rosieres.agent)
    for label in ("service", "accessprofile", "activity", "slot"):
        label = f"services.{label}"
        row = rosieres.rows[label]
        answer = client.post(url(label, "delete", row.pk), {"post": "yes"}, follow=True)
        assert "ne peut pas être supprimé" in texts(answer)[0].replace("\xa0", " "), label
        assert type(row)._default_manager.filter(pk=row.pk).exists()
    unused = ActivityFactory(service=rosieres.rows["services.service"])
    assert client.get(url("services.activity", "delete", unused.pk)).status_code == 200
    client.post(url("services.activity", "delete", unused.pk), {"post": "yes"})
    assert not Activity.objects.filter(pk=unused.pk).exists()


# --- Calendars ---------------------------------------------------------------------------------------------------------


def test_weekdays_are_boxes_and_new_rules_ask_for_a_new_calendar(rosieres: Town) -> None:
    client, activity = client_of(rosieres.agent), rosieres.rows["services.activity"]
    answer = edit(client, "services.activity", activity, **{"periods-0-weekdays": ["0", "4"]})
    saved(answer)
    assert activity.periods.get().weekdays == [0, 4]
    assert any("générez-les maintenant" in said for said in texts(answer))
    answer = edit(client, "services.activity", activity, description="Un texte.")
    assert not any("générez-les maintenant" in said for said in texts(answer))


def test_periods_that_are_none(rosieres: Town) -> None:
    client, activity = client_of(rosieres.agent), rosieres.rows["services.activity"]
    import_school_holidays(today().year - 1, today().year + 1)
    new = {"periods-TOTAL_FORMS": "2", "periods-1-id": "", "periods-1-activity": activity.pk}
    for values, words in (
        ({"kind": "named", "weekdays": ["1"]}, "Choisissez les vacances."),
        ({"kind": "dates", "weekdays": ["1"]}, "Écrivez le premier jour."),
        ({"kind": "dates", "first_day": "02/07/2027"}, "Écrivez le dernier jour (inclus)."),
        ({"kind": "dates", "first_day": "02/07/2027", "last_day": "01/07/2027"}, "avant le premier"),
        ({"kind": "school", "weekdays": ["2", "3"]}, "Une autre période de la même sorte a déjà l’un de ces jours"),
        ({"kind": "school", "capacity": "3"}, "Une autre période de la même sorte"),
        ({"kind": "summer", "weekdays": ["1"], "capacity": "0"}, "supérieure ou égale à 1"),
    ):
        sent = new | {f"periods-1-{name}": value for name, value in values.items()}
        page = edit(client, "services.activity", activity, **sent).content.decode().replace("\xa0", " ")
        assert words in page, values
    assert activity.periods.count() == 1
    values = {"kind": "named", "holiday": "Vacances de Noël", "first_day": "01/07/2027", "weekdays": []}
    saved(edit(client, "services.activity", activity, **new, **{f"periods-1-{n}": v for n, v in values.items()}))
    period = activity.periods.get(kind="named")
    assert (str(period), period.first_day, period.weekdays) == ("Vacances de Noël", None, [])
    # A day moves from one period to another in one go.
    period.delete()
    ActivityPeriod.objects.create(activity=activity, kind="school", weekdays=[3])
    moved = {"periods-0-weekdays": ["3"], "periods-1-weekdays": ["2"]}
    saved(edit(client, "services.activity", activity, **moved))
    assert list(activity.periods.values_list("weekdays", flat=True)) == [[3], [2]]


def test_generating_open_days(rosieres: Town) -> None:
    client, activity = client_of(rosieres.agent), rosieres.rows["services.activity"]
    address = url("services.activity", "generate", activity.pk)
    for answer in (client.get(address), client.post(address)):
        assert "calendrier scolaire" in texts(answer)[0]  # nothing is known of it yet
        assert 'value="Générer' not in answer.content.decode()
    import_school_holidays(today().year - 1, today().year + 3)
    booked = rosieres.rows["services.openday"].date
    only_open(activity, [(booked.weekday() + 1) % 7], ActivityPeriod.Kind.SCHOOL)
    before = activity.open_days.count()
    page = client.get(address)
    seen = page.context["report"]
    assert activity.open_days.count() == before == 1
    assert len(seen.opened) > 30 and not page.context["done"]
    assert 'value="Générer' in page.content.decode()
    assert f"{capfirst(long_date(booked))} reste ouvert" in page.content.decode().replace("\xa0", " ")
    assert long_date(seen.opened[-1]) in page.content.decode()
    page = client.post(address)
    assert page.context["report"] == seen and page.context["done"]
    assert "place prise" in page.content.decode()
    assert client.post(address).context["report"].opened == []
    assert "rien n’est à faire" in client.get(address).content.decode()


def test_generating_between_chosen_dates(rosieres: Town) -> None:
    client, activity = client_of(rosieres.agent), rosieres.rows["services.activity"]
    only_open(activity, list(range(7)))
    address = url("services.activity", "generate", activity.pk)
    first = today() + dt.timedelta(days=100)
    dates = {"du": f"{first:%Y-%m-%d}", "au": f"{first + dt.timedelta(days=6):%Y-%m-%d}"}
    page = client.get(address, dates)
    opened = page.context["report"].opened
    assert opened and min(opened) >= first and len(opened) <= 7
    assert f'name="au" value="{dates["au"]}"' in page.content.decode()
    client.post(address, dates)
    assert activity.open_days.count() == 1 + len(opened)
    for wrong, words in (
        ({"du": dates["au"], "au": dates["du"]}, "avant le premier"),
        ({"du": "2020-01-01"}, "à partir d’aujourd’hui"),
        ({"au": "2060-01-01"}, "trois ans au plus"),
        ({"du": "hier"}, "errorlist"),
    ):
        for answer in (client.get(address, wrong), client.post(address, wrong)):
            assert words in answer.content.decode() and answer.context["report"] is None
    assert activity.open_days.count() == 1 + len(opened)


def test_the_days_to_come_are_listed_first(rosieres: Town) -> None:
    client, coming = client_of(rosieres.agent), rosieres.rows["services.openday"]
    past = OpenDayFactory(activity=coming.activity, date=today() - dt.timedelta(days=9))
    address = url("services.openday", "changelist")
    for query, rows in (("", [coming]), ("?quand=passes", [past]), ("?quand=tous", [past, coming])):
        page = client.get(address + query)
        assert list(page.context["cl"].result_list) == rows, query
    assert "icon-no" not in page.content.decode()
    assert "Par le calendrier" in page.content.decode()


def test_several_days_are_closed_with_one_reason(rosieres: Town, aiguilhe: Town) -> None:
    client, booked = client_of(rosieres.agent), rosieres.rows["services.openday"]
    free, other = (OpenDayFactory(activity=booked.activity, date=booked.date + dt.timedelta(days=n)) for n in (1, 2))
    address = url("services.openday", "changelist")
    chosen = {"action": "close_selected", ACTION_CHECKBOX_NAME: [booked.pk, free.pk]}
    page = client.post(address, chosen)
    words = page.content.decode().replace("\xa0", " ")
    assert "Fermer ces jours" in words and "(1 place prise)" in words and "Préparer une fermeture" in words
    assert "Écrivez pourquoi" in client.post(address, {**chosen, "confirm": "1", "reason": " "}).content.decode()
    assert OpenDay.objects.filter(is_open=False).count() == 0
    said = texts(client.post(address, {**chosen, "confirm": "1", "reason": "Grève"}, follow=True))
    assert "passez par une fermeture" in said[0] and not OpenDay.objects.filter(is_open=False).exists()
    chosen[ACTION_CHECKBOX_NAME] = [free.pk, other.pk]
    said = texts(client.post(address, {**chosen, "confirm": "1", "reason": "Grève"}, follow=True))
    assert "2 jours sont fermés" in said[0]
    assert set(OpenDay.objects.filter(is_open=False).values_list("pk", "closed_reason", "by_hand")) == {
        (free.pk, "Grève", True),
        (other.pk, "Grève", True),
    }
    assert "déjà fermés" in texts(client.post(address, chosen, follow=True))[0]
    strange = {
        **chosen,
        ACTION_CHECKBOX_NAME: [aiguilhe.rows["services.openday"].pk],
        "confirm": "1",
        "reason": "Grève",
    }
    client.post(address, strange)
    assert OpenDay.objects.filter(is_open=False).count() == 2


def test_importing_school_holidays(rosieres: Town, operator: User) -> None:
    address = url("services.schoolholiday", "import")
    assert client_of(rosieres.agent).post(address).status_code == 404
    client = client_of(operator)
    assert client.get(address).status_code == 405
    assert "périodes de vacances ajoutées" in texts(client.post(address, follow=True))[0]
    assert SchoolHoliday.objects.count() > 5
    assert texts(client.post(address, follow=True))[0].startswith("0 ")


# --- Texts and roles ---------------------------------------------------------------------------------------------------


def test_a_published_text_no_longer_changes(operator: User) -> None:
    client, draft = client_of(operator), TermsFactory(version="demain", published_at=timezone.now() + dt.timedelta(1))
    saved(edit(client, "accounts.terms", draft, body="Article 1 corrigé"))
    terms = TermsFactory()
    address = url("accounts.terms", "change", terms.pk)
    page = client.get(address)
    assert "Cette version est publiée" in page.content.decode()
    assert client.post(address, {"body": "Article falsifié"}).status_code == 403
    assert client.post(url("accounts.terms", "delete", terms.pk), {"post": "yes"}).status_code == 403
    values = {"kind": "sale", "published_at_0": "01/01/2027", "published_at_1": "00:00", "body": "Nouveau"}
    add = url("accounts.terms", "add")
    assert "déjà une version" in errors(client.post(add, {**values, "version": terms.version}, follow=True))
    saved(client.post(add, {**values, "version": "2027-01"}, follow=True))
    assert Terms.objects.count() == 3


def test_roles_are_given_and_taken_back(rosieres: Town, operator: User) -> None:
    client, person = client_of(operator), UserFactory()
    add = url("accounts.staffrole", "add")
    answer = client.post(add, {"user": person.pk, "kind": "agent", "commune": ""}, follow=True)
    assert "Un agent de mairie travaille pour une commune" in errors(answer)
    waiting = UserFactory(pending=True)
    role = {"kind": "agent", "commune": rosieres.commune.pk}
    assert "pas encore validé" in errors(client.post(add, {**role, "user": waiting.pk}, follow=True))
    saved(client.post(add, {**role, "user": person.pk}, follow=True))
    person = User.objects.get(pk=person.pk)
    assert person.is_staff and person.commune_ids == {rosieres.commune.pk}
    assert "déjà un rôle" in errors(client.post(add, {**role, "user": person.pk}, follow=True))

    delete = url("accounts.staffrole", "delete", person.staff_roles.get().pk)
    client.post(delete, {"post": "yes"})
    person = User.objects.get(pk=person.pk)
    assert not person.is_staff and not person.staff_roles.exists()
    own = url("accounts.staffrole", "delete", operator.staff_roles.get().pk)
    assert "votre propre rôle" in " ".join(texts(client.post(own, {"post": "yes"}, follow=True)))
    assert StaffRole.objects.filter(user=operator).exists()
    agent = client_of(rosieres.agent)
    assert agent.post(add, {"user": rosieres.agent.pk, "kind": "operator"}).status_code == 404


def test_a_booking_made_meanwhile_shows_among_the_kept(rosieres: Town) -> None:
    """Booked places are counted by PostgreSQL: saving a day never writes them back."""
    client, day = client_of(rosieres.agent), rosieres.rows["services.openday"]
    values = form_values(client.get(url("services.openday", "change", day.pk)))
    from tests.factories import FiliationFactory

    book(rosieres, beneficiary=FiliationFactory(user=rosieres.parent).beneficiary)
    client.post(url("services.openday", "change", day.pk), {**values, "capacity": "7"})
    day.refresh_from_db()
    assert (day.capacity, day.taken) == (7, 2)
