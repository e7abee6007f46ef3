"""A closure that could not be applied: tried again after the others, told, and with a way out; nobody was told or paid back."""

import datetime as dt
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bookings.closures.actions import undo
from bookings.closures.models import Closure, ClosureQuerySet
from bookings.models import Booking
from checkout.actions import closures
from checkout.actions.closures import apply_closure
from checkout.overdue import overdue
from checkout.regie import verifications
from checkout.tasks import apply_closures
from checkout.verification import verify
from portal.common.errors import Refused
from portal.outbox.models import Email
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.checkout.test_closures import agent, decided, due, paid_shop
from tests.factories import agent_of
from tests.guards import in_the_way
from tests.shop import Shop
from wallet.models import Movement

pytestmark = pytest.mark.django_db


def since(minutes: int) -> dt.datetime:
    at = timezone.now() - dt.timedelta(minutes=minutes)
    Closure.objects.update(leaves_at=at)
    return at


def page_of(closure: Closure, client: Client) -> str:
    return text(client.get(reverse("admin:bookings_closure_change", args=[closure.pk])))


def failing() -> tuple[Shop, Closure]:
    """One that is due, and that the minute's task could not apply."""
    shop = paid_shop()
    closure = decided(shop)
    due(closure)
    in_the_way("bookings_closure", f"id <> {closure.pk} OR status <> 'sent'")
    assert apply_closures() == 0
    return shop, closure


def test_one_that_cannot_be_applied_does_not_keep_the_others() -> None:
    shop = paid_shop()
    stuck, other = decided(shop), decided(shop, first_day=shop.days[1].date, last_day=shop.days[1].date)
    due(stuck)
    due(other)
    in_the_way("bookings_closure", f"id <> {stuck.pk} OR status <> 'sent'")
    assert apply_closures() == 1
    assert (Closure.objects.get(pk=stuck.pk).status, Closure.objects.get(pk=other.pk).status) == (
        "confirmed",
        "sent",
    )
    assert Booking.objects.booked().count() == 2 and shop.balance == Decimal("84.20")


def test_one_that_failed_comes_after_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = paid_shop()
    stuck, other = decided(shop), decided(shop, first_day=shop.days[1].date, last_day=shop.days[1].date)
    due(stuck)
    due(other)
    in_the_way("bookings_closure", f"id <> {stuck.pk} OR status <> 'sent'")
    monkeypatch.setattr(closures, "MOST_AT_ONCE", 1)
    assert [apply_closures() for _minute in range(2)] == [0, 1]


def test_one_that_was_undone_or_applied_meanwhile_is_neither_counted_nor_called_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = paid_shop()
    undo(closure=decided(shop), by=agent(shop))
    apply_closure(closure=decided(shop), by=agent(shop))
    decided(shop, first_day=shop.days[1].date, last_day=shop.days[1].date)
    monkeypatch.setattr(ClosureQuerySet, "due", lambda self, *, at: self)  # as they were read a moment before
    assert apply_closures() == 0
    assert sorted(Closure.objects.values_list("status", "failed_at")) == [
        ("confirmed", None),
        ("sent", None),
        ("undone", None),
    ]


def test_one_that_is_not_applied_in_its_time_is_told() -> None:
    closure, operator = decided(paid_shop()), agent_of()
    since(minutes=59)
    assert list(overdue()) == []
    since(minutes=61)
    (said,) = overdue()
    assert said.startswith(f"Fermeture «\u00a0{closure}\u00a0»\u00a0: elle devait s’appliquer le ")
    assert "prévenez les familles maintenant ou annulez-la" in said
    verifications.run(by=None)
    assert "ne sont ni prévenues ni remboursées" in Email.objects.get(to=operator.email).body


def test_one_that_failed_is_undone_and_nothing_has_moved() -> None:
    shop, closure = failing()
    money = Movement.objects.count()
    assert undo(closure=closure, by=agent(shop)).status == "undone"
    assert shop.fresh().is_open and Booking.objects.booked().count() == 4 and Movement.objects.count() == money
    assert not Email.objects.filter(key__startswith="closure:").exists() and list(verify()) == []
    assert apply_closures() == 0


def test_one_that_nothing_came_of_is_undone_though_no_task_wrote_that_it_failed() -> None:
    """A worker that is stopped writes nothing down."""
    shop = paid_shop()
    closure = decided(shop)
    since(minutes=61)
    assert undo(closure=closure, by=agent(shop)).status == "undone"


def test_who_undoes_one_that_is_about_to_be_applied_is_not_told_that_families_were_told() -> None:
    shop = paid_shop()
    closure = decided(shop)
    due(closure)
    with pytest.raises(Refused) as refused:
        undo(closure=closure, by=agent(shop))
    assert refused.value.code == "too_late" and "ont été prévenues" not in str(refused.value.messages)
    apply_closures()
    with pytest.raises(Refused, match="les familles ont été prévenues et remboursées"):
        undo(closure=closure, by=agent(shop))


def test_the_page_of_one_that_failed_says_so_and_what_to_do() -> None:
    shop, closure = failing()
    client = client_of(agent(shop))
    said = page_of(closure, client)
    assert "n’a pas pu l’être. Dernier essai : " in said and "Personne n’a été prévenu ni remboursé" in said
    assert (
        "Jusque-là, annuler la fermeture" not in said and "courriels à venir" not in said.partition("Qui est touché")[0]
    )
    assert "Annuler la fermeture" in said and "Prévenir les familles maintenant" in said
    story = text(client.get(reverse("admin:bookings_closure_history", args=[closure.pk])))
    assert "N’a pas pu s’appliquer" in story
    undone = text(client.post(reverse("admin:bookings_closure_undo", args=[closure.pk]), follow=True))
    assert "aucun argent n’a bougé" in undone and "n’a pas pu l’être" not in undone


def test_the_page_of_one_whose_time_has_come_offers_no_undoing() -> None:
    shop = paid_shop()
    closure = decided(shop)
    client = client_of(agent(shop))
    assert "Jusque-là, annuler la fermeture rouvre tout" in page_of(closure, client)
    due(closure)
    said = page_of(closure, client)
    assert "Son heure est passée" in said and "Jusque-là" not in said
    assert (
        f"/{closure.pk}/annuler/"
        not in client.get(reverse("admin:bookings_closure_change", args=[closure.pk])).content.decode()
    )
    since(minutes=61)
    said = page_of(closure, client)
    assert "et rien ne s’est fait" in said and "Annuler la fermeture" in said
