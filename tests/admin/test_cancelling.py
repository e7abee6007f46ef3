"""« Annuler et rembourser… » : staff cancel families' bookings from the list, with a reason, in their commune only."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.utils import timezone
from psycopg.types.range import TimestamptzRange

from bookings.absence_actions import report_absence
from bookings.models import Booking
from checkout.actions import Means, justify_absence
from portal.common.formats import PARIS, long_date, today
from portal.outbox.models import Email
from services.models import OpenDay, Service
from tests.admin.world import client_of, texts, url
from tests.checkout.http import text
from tests.factories import AbsenceRuleFactory, CommuneFactory, FiliationFactory, OpenDayFactory, agent_of
from tests.shop import Shop, open_shop
from tests.vouchers.making import order_with, voucher

pytestmark = pytest.mark.django_db
LIST = url("bookings.booking", "changelist")


@pytest.fixture
def shop() -> Shop:
    shop = open_shop(days=3, credit="50")
    shop.add()
    shop.pay(Means.WALLET, "23.70")
    return shop


def agent(shop: Shop) -> Any:
    commune = shop.activity.service.commune
    assert commune is not None
    return agent_of(commune)


def fields(**more: str) -> dict[str, Any]:
    ids = [str(pk) for pk in Booking.objects.order_by("period").values_list("pk", flat=True)[:2]]
    return {"action": "cancel_selected", ACTION_CHECKBOX_NAME: ids, **more}


def test_what_goes_back_is_said_then_a_reason_is_asked_then_it_is_done(shop: Shop) -> None:
    client = client_of(agent(shop))
    asked = client.post(LIST, fields())
    assert "Ces 2 réservations seront annulées" in text(asked) and "15,80 €" in text(asked)
    again = client.post(LIST, fields(confirm="1", reason=" "))
    assert "Écrivez le motif" in text(again) and Booking.objects.booked().count() == 3
    done = client.post(LIST, fields(confirm="1", reason="Grève"), follow=True)
    assert texts(done) == ["2 réservations annulées. 15,80\u00a0€ rendus au porte-monnaie de qui a payé."]
    assert shop.balance == Decimal("42.10") and "Grève" in Email.objects.get(key__startswith="cancellation:").body
    assert texts(client.post(LIST, fields(), follow=True)) == ["Aucune de ces réservations n’est à annuler."]


def test_what_another_person_decides_is_not_said_to_be_cancelled(shop: Shop) -> None:
    staff = agent(shop)
    FiliationFactory(user=staff, beneficiary=shop.children[0])
    assert "Ces 2 réservations seront annulées" in text(client_of(staff).post(LIST, fields()))
    OpenDay.objects.update(cancel_until="2020-01-02T11:00Z")
    for more in ({}, {"confirm": "1", "reason": "Grève", "override": "on"}):
        words = text(client_of(staff).post(LIST, fields(**more)))
        assert "Vous demandez d’annuler ces 2 réservations" in words and "votre propre famille" in words
    assert Booking.objects.booked().count() == 3


def test_past_the_limit_it_is_said_apart_and_done_only_with_the_box(shop: Shop) -> None:
    first = Booking.objects.order_by("period")[0]
    client = client_of(agent(shop))
    assert "malgré la limite" not in text(client.post(LIST, fields()))
    OpenDay.objects.filter(pk=first.open_day_id).update(cancel_until="2020-01-02T11:00Z")
    words = text(client.post(LIST, fields()))
    late = f"La limite d’annulation est passée {long_date(first.date)}"
    assert late in words and "pouvait annuler jusqu’au jeudi 2 janvier à 12" in words
    assert "Annuler malgré la limite passée" in words and "Déjà commencé" not in words
    refused = client.post(LIST, fields(confirm="1", reason="Grève"))
    assert "Cochez « Annuler malgré la limite passée »" in text(refused) and "Erreur" in text(refused)
    assert Booking.objects.booked().count() == 3 and shop.balance == Decimal("26.30")
    done = client.post(LIST, fields(confirm="1", reason="Grève", override="on"), follow=True)
    assert "2 réservations annulées" in text(done) and shop.balance == Decimal("42.10")


def test_a_service_that_was_given_is_named_apart(shop: Shop) -> None:
    coming = Booking.objects.order_by("period")[0]
    yesterday = OpenDayFactory(activity=shop.activity, date=today() - dt.timedelta(days=1))
    hours = (dt.datetime.combine(yesterday.date, at, tzinfo=PARIS) for at in (shop.slot.starts_at, shop.slot.ends_at))
    Booking.objects.create(
        beneficiary=shop.children[0],
        open_day=yesterday,
        slot=shop.slot,
        hold=coming.hold,
        period=TimestamptzRange(*hours),
        status="booked",
        booked_at=timezone.now(),
        made_by=shop.user,
    )
    words = text(client_of(agent(shop)).post(LIST, fields()))
    assert f"Déjà commencé ou passé {long_date(yesterday.date)}" in words
    assert "Une réservation a déjà eu lieu ou a commencé : un service rendu serait remboursé." in words
    assert "malgré la limite passée" in words and "La limite d’annulation est passée" not in words


def test_the_part_of_the_vouchers_and_what_becomes_of_them_are_said(shop: Shop) -> None:
    shop = open_shop(days=2, credit="50")
    voucher(commune=shop.activity.service.commune)
    order_with(shop, "RENTREE10", total="14.22")
    client = client_of(agent(shop))
    ids = [str(pk) for pk in Booking.objects.filter(made_by=shop.user).values_list("pk", flat=True)]
    part = text(client.post(LIST, {"action": "cancel_selected", ACTION_CHECKBOX_NAME: ids[:1]}))
    assert "0,79 € payés par des bons de réduction ne reviennent pas à la famille" in part
    assert "Le bon RENTREE10 reste utilisé" in part
    whole = {"action": "cancel_selected", ACTION_CHECKBOX_NAME: ids}
    assert "Le bon RENTREE10 pourra resservir" in text(client.post(LIST, whole))
    done = client.post(LIST, whole | {"confirm": "1", "reason": "Grève"}, follow=True)
    assert "Le bon RENTREE10 pourra resservir." in texts(done)
    assert "Le bon RENTREE10 pourra resservir." in Email.objects.get(key__startswith="cancellation:").body


def test_not_in_another_commune(shop: Shop) -> None:
    client_of(agent_of(CommuneFactory())).post(LIST, fields(confirm="1", reason="Grève"))
    assert Booking.objects.booked().count() == 3


def test_the_list_says_and_finds_who_is_absent(shop: Shop) -> None:
    OpenDay.objects.update(cancel_until="2020-01-01T00:00Z")
    first = Booking.objects.order_by("period")[0]
    report_absence(user=shop.user, beneficiary=shop.children[0], ids=[first.pk], kind="illness", by=shop.user)
    client = client_of(agent(shop))
    for asked, count in (("oui", 1), ("non", 2)):
        page = client.get(LIST, {"absence": asked})
        assert page.context["cl"].result_count == count
    assert "Signalée" in text(client.get(LIST, {"absence": "oui"}))


def test_the_absences_of_a_day_and_what_validating_gives_back(shop: Shop, django_assert_max_num_queries: Any) -> None:
    """« Absents le … » for the kitchen; the euros stand beside and on the button before it is pressed."""
    OpenDay.objects.update(cancel_until="2020-01-01T00:00Z")
    Service.objects.update(absence_rule=AbsenceRuleFactory(refund="waiting", waiting_days=1))
    ids = list(Booking.objects.order_by("period").values_list("pk", flat=True))
    (absence,) = report_absence(user=shop.user, beneficiary=shop.children[0], ids=ids, kind="illness", by=shop.user)
    client, absences = client_of(agent(shop)), url("bookings.absence", "changelist")
    with django_assert_max_num_queries(16):
        words = text(client.get(absences))
    assert long_date(shop.days[1].date).capitalize() in words and "15,80 €" in words
    assert client.get(absences, {"jour": shop.days[1].date.isoformat()}).context["cl"].result_count == 1
    assert client.get(absences, {"jour": "2020-01-01"}).context["cl"].result_count == 0
    assert client.get(absences, {"jour": "demain"}).context["cl"].result_count == 1  # no day: all of them
    page = text(client.get(url("bookings.absence", "change", absence.pk)))
    assert "Valider et rendre 15,80 €" in page and "rien, selon la règle" in page and "7,90 €" in page
    before = shop.balance
    justify_absence(absence=absence, by=agent(shop))
    assert shop.balance - before == Decimal("15.80")
    assert "Valider et rendre" not in text(client.get(url("bookings.absence", "change", absence.pk)))
