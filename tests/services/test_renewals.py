"""Accesses of a school year: they end, are renewed by a click and a confirmation, and say so when they are over."""

import datetime as dt
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.common.errors import Refused
from portal.common.formats import today
from portal.outbox.models import Email
from services import actions
from services.models import Service, Subscription
from services.school_calendar import school_year
from tests.factories import CommuneFactory, SubscriptionFactory, UserFactory, agent_of
from tests.guards import sql, undone
from tests.shop import open_shop
from tests.waiting import full_shop, neighbour, statuses, wait

pytestmark = pytest.mark.django_db


def ending(days: int = 10, **facts: Any) -> Subscription:
    row: Subscription = SubscriptionFactory(**facts)
    Subscription.objects.filter(pk=row.pk).update(valid_until=today() + dt.timedelta(days=days))
    row.refresh_from_db()
    return row


@pytest.mark.parametrize(
    "date, until", [("2026-09-01", "2027-08-31"), ("2027-05-31", "2027-08-31"), ("2027-06-01", "2028-08-31")]
)
def test_what_is_validated_from_june_on_is_for_the_next_year(
    monkeypatch: pytest.MonkeyPatch, date: str, until: str
) -> None:
    monkeypatch.setattr(actions, "today", lambda: dt.date.fromisoformat(date))
    row = SubscriptionFactory(pending=True)
    Service.objects.update(yearly_access=True)
    assert actions.approve_subscription(subscription=row, by=agent_of()).valid_until == dt.date.fromisoformat(until)


def test_without_it_an_access_has_no_end() -> None:
    row = SubscriptionFactory(pending=True)
    assert actions.approve_subscription(subscription=row, by=agent_of()).valid_until is None
    # A service that becomes yearly ends nobody's access.
    Service.objects.update(yearly_access=True)
    row.refresh_from_db()
    assert row.valid_until is None and not row.can_be_renewed


def test_a_click_and_a_confirmation() -> None:
    row = ending()
    actions.ask_renewal(subscription=row, by=row.user)
    with pytest.raises(Refused) as refused:
        actions.ask_renewal(subscription=row, by=row.user)
    assert refused.value.code == "not_due"
    with pytest.raises(Refused) as refused:
        actions.confirm_renewal(subscription=row, by=agent_of(CommuneFactory()))
    assert refused.value.code == "out_of_scope"
    by = agent_of(row.profile.service.commune)
    done = actions.confirm_renewal(subscription=row, by=by)
    assert done.valid_until == school_year(today() + dt.timedelta(days=92))[1] and done.renewal_asked_at is None
    assert "renouvelé" in Email.objects.get(to=row.user.email).subject
    with pytest.raises(Refused) as refused:
        actions.confirm_renewal(subscription=row, by=by)
    assert refused.value.code == "not_asked"


@pytest.mark.parametrize("case", ["too early", "somebody else", "refused"])
def test_what_is_not_renewed(case: str) -> None:
    row = ending(200 if case == "too early" else 10)
    if case == "refused":
        actions.refuse_subscription(subscription=row, reason="Parti", by=agent_of())
    with pytest.raises(Refused):
        actions.ask_renewal(subscription=row, by=UserFactory() if case == "somebody else" else row.user)


def test_withdrawing_an_access_ends_its_renewal() -> None:
    row = ending()
    actions.ask_renewal(subscription=row, by=row.user)
    refused = actions.refuse_subscription(subscription=row, reason="Parti", by=agent_of())
    assert refused.renewal_asked_at is None
    sql("SET CONSTRAINTS ALL IMMEDIATE")  # ALTER TABLE waits for no pending trigger
    with undone():
        sql("ALTER TABLE services_subscription DROP CONSTRAINT what_ends_is_renewed")
        Subscription.objects.update(renewal_asked_at=timezone.now())
        assert Subscription.objects.renewing().exists()
    with pytest.raises(IntegrityError, match="what_ends_is_renewed"), transaction.atomic():
        Subscription.objects.update(renewal_asked_at=timezone.now())


def test_dates_after_its_end_are_refused_and_those_before_are_booked() -> None:
    shop = open_shop(days=2)
    Subscription.objects.update(valid_until=shop.days[0].date)
    shop.subscription.refresh_from_db()
    with pytest.raises(Refused, match="renouvelez-le depuis") as refused:
        shop.add()
    assert refused.value.code == "access_over"
    assert shop.add(days=shop.days[:1]).quantity == 1


def test_an_access_that_is_over_waits_for_nothing_and_is_offered_nothing() -> None:
    from bookings.models import Booking
    from checkout.actions import cancel_bookings

    shop = full_shop()
    other, late = neighbour(shop), neighbour(shop)
    wait(other)
    Subscription.objects.filter(user__in=[other.user, late.user]).update(valid_until=today())
    late.subscription.refresh_from_db()
    with pytest.raises(Refused) as refused:
        wait(late)
    assert refused.value.code == "access_over"
    cancel_bookings(ids=[Booking.objects.get().pk], by=shop.user)
    assert statuses(other) == ["waiting"]


def test_a_parent_renews_and_the_mairie_confirms() -> None:
    row = ending(-3)
    client, staff = Client(), Client()
    client.force_login(row.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    page = client.get(reverse("subscriptions")).content.decode()
    assert "Terminé depuis le" in page and "Renouveler" in page
    renew = reverse("subscription_renew", args=[row.pk])
    page = client.post(renew, follow=True).content.decode()
    assert "renouvellement demandé" in page and ">Renouveler<" not in page
    assert "déjà demandé" in client.post(renew, follow=True).content.decode()
    staff.force_login(
        agent_of(row.profile.service.commune), backend="allauth.account.auth_backends.AuthenticationBackend"
    )
    assert "Renouvellement à confirmer" in staff.get(reverse("admin:index")).content.decode()
    rows = reverse("admin:services_subscription_changelist")
    assert list(staff.get(f"{rows}?renouveler=oui").context["cl"].result_list) == [row]
    sent = {"action": "renew_selected", "_selected_action": [row.pk]}
    assert "1 accès est renouvelé." in staff.post(rows, sent, follow=True).content.decode()
    row.refresh_from_db()
    assert not row.is_over
    assert "Aucun renouvellement" in staff.post(rows, sent, follow=True).content.decode()
