"""« Historique »: what happened, who did it, in words; never « rien n’a été noté » where the rows know better."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from bookings.models import Booking
from checkout.models import Order, OrderLine, Payment
from portal.common.formats import of
from services.models import OpenDay, Tariff
from tests.admin.world import Town, book, client_of, form_values, shared_family, url
from tests.factories import agent_of
from wallet.models import Account, Entry
from wallet.words import account_name

pytestmark = pytest.mark.django_db


def history(user: User, label: str, pk: int) -> list[tuple[str, str]]:
    """Newest first: who, and what."""
    page = client_of(user).get(url(label, "history", pk))
    assert page.status_code == 200
    return [(line.who, " ".join(line.what)) for line in page.context["history"]]


def text(user: User, label: str, page: str, *args: Any) -> str:
    return client_of(user).get(url(label, page, *args)).content.decode().replace("\xa0", " ")


def test_every_table_tells_something_or_says_where(everything: dict[str, Any], operator: User) -> None:
    for label in ("bookings.booking", "checkout.order", "checkout.payment", "checkout.providerevent", "wallet.wallet",
                  "wallet.account", "wallet.movement", "wallet.entry", "outbox.email"):  # fmt: skip
        assert "Rien n’a été noté" not in text(operator, label, "history", everything[label].pk), label


def test_a_booking_tells_its_own_life(rosieres: Town) -> None:
    booking = rosieres.rows["bookings.booking"]
    Booking.objects.filter(pk=booking.pk).update(booked_at=timezone.now())
    assert history(rosieres.agent, "bookings.booking", booking.pk) == [
        (str(rosieres.parent), "Réservation confirmée."),
        (str(rosieres.parent), "Absence signalée."),
        (str(rosieres.parent), "Place prise dans le panier."),
    ]
    Booking.objects.filter(pk=booking.pk).update(
        status="cancelled", ended_at=timezone.now(), ended_by=rosieres.agent, ended_reason="Déménagement"
    )
    newest = history(rosieres.agent, "bookings.booking", booking.pk)[0]
    assert newest == (str(rosieres.agent), "Annulée\xa0: Déménagement")


def test_an_order_tells_each_what_they_may_know(rosieres: Town, aiguilhe: Town, operator: User) -> None:
    order, line = rosieres.rows["checkout.order"], rosieres.rows["line"]
    there = OrderLine.objects.create(
        order=order, booking=aiguilhe.rows["bookings.booking"], commune=aiguilhe.commune, label="Repas Aiguilhe",
        unit_price=Decimal("3.80"),
    )  # fmt: skip
    later = timezone.now() + dt.timedelta(minutes=5)
    Payment.objects.create(order=order, provider="wallet", amount=order.total, status="captured", ended_at=later)
    Order.objects.filter(pk=order.pk).update(status="paid", paid_at=later)
    OrderLine.objects.filter(pk__in=[line.pk, there.pk]).update(cancelled_at=later)
    here = " ".join(what for _who, what in history(rosieres.agent, "checkout.order", order.pk)).replace("\xa0", " ")
    assert "Commande passée : 7,90 €." in here and "Commande payée." in here
    assert "Ligne annulée : Repas Rosières" in here and "Aiguilhe" not in here and "Règlement" not in here
    everywhere = " ".join(what for _who, what in history(operator, "checkout.order", order.pk)).replace("\xa0", " ")
    assert "Repas Aiguilhe (3,80 €)" in everywhere
    assert "Règlement de 7,90 € par porte-monnaie : encaissé." in everywhere


def test_a_payment_tells_what_its_provider_said(everything: dict[str, Any], operator: User) -> None:
    told = " ".join(what for _who, what in history(operator, "checkout.payment", everything["checkout.payment"].pk))
    assert "Règlement commencé" in told and "Message du prestataire (test)" in told and "reçu" in told


def test_who_decided_is_named(rosieres: Town, aiguilhe: Town) -> None:
    family = shared_family(rosieres, aiguilhe)
    User.objects.filter(pk=rosieres.agent.pk).update(first_name="Zoé", last_name="Lointaine")
    client = client_of(rosieres.agent)
    client.post(url("accounts.user", "approve", family.pk), {"seen": "pending@"})
    here = str(history(rosieres.agent, "accounts.user", family.pk))
    assert "Décidé par\\xa0: vide → Zoé Lointaine" in here and "Décidé par\\xa0: modifié" not in here
    there = str(history(aiguilhe.agent, "accounts.user", family.pk))
    assert "Lointaine" not in there and "vide → un agent d’une autre commune" in there


def test_values_are_said_as_people_write_them(rosieres: Town) -> None:
    tariff, activity = rosieres.rows["services.tariff"], rosieres.rows["services.activity"]
    Tariff.objects.filter(pk=tariff.pk).update(price=Decimal("1.90"))
    Tariff.objects.filter(pk=tariff.pk).update(price=Decimal("4.10"))
    assert "Prix : 1,90 € → 4,10 €" in text(rosieres.agent, "services.tariff", "history", tariff.pk)
    activity.periods.update(weekdays=[0, 2])
    told = text(rosieres.agent, "services.activity", "history", activity.pk)
    assert "Semaines d’école – Jours d’ouverture : mercredi → lundi et mercredi" in told


def test_an_open_day_tells_who_changed_what_and_not_who_booked(rosieres: Town, aiguilhe: Town) -> None:
    """Each booking moves `taken`: it is not part of the day's history."""
    day, client = rosieres.rows["services.openday"], client_of(rosieres.agent)
    before = OpenDay.pgh_event_model.objects.count()
    book(rosieres, beneficiary=aiguilhe.rows["families.beneficiary"])
    day.refresh_from_db()
    assert day.taken == 2 and OpenDay.pgh_event_model.objects.count() == before == 0
    assert history(rosieres.agent, "services.openday", day.pk) == []
    assert "n’a pas changé" in text(rosieres.agent, "services.openday", "history", day.pk)
    for capacity in (7, 9):
        values = form_values(client.get(url("services.openday", "change", day.pk)))
        client.post(url("services.openday", "change", day.pk), {**values, "capacity": capacity})
    told = history(rosieres.agent, "services.openday", day.pk)
    assert [who for who, _what in told] == [str(rosieres.agent)] * 2
    assert "Places\xa0: 7 → 9" in told[0][1] and "Réglé" not in told[0][1]
    assert "Places\xa0: 20 → 7" in told[1][1] and "Réglé à la main\xa0: non → oui" in told[1][1]

    added = {"activity": day.activity_id, "date": "16/06/2027", "capacity": "5", "is_open": "on"}
    client.post(url("services.openday", "add"), added)
    new = OpenDay.objects.latest("pk")
    assert history(rosieres.agent, "services.openday", new.pk) == [(str(rosieres.agent), "Premier enregistrement.")]


# --- Names of the ledger -----------------------------------------------------------------------------------------------


def test_accounts_and_entries_have_names(everything: dict[str, Any], rosieres: Town, operator: User) -> None:
    wallet = everything["wallet.wallet"]
    whose = f"Porte-monnaie {of(str(rosieres.parent))}"
    assert account_name(wallet.account) == whose
    entry = Entry.objects.get(account=wallet.account)
    for label, page, *pk in (
        ("wallet.account", "changelist"),
        ("wallet.entry", "changelist"),
        ("wallet.account", "change", wallet.account_id),
        ("wallet.movement", "change", entry.movement_id),
        ("wallet.wallet", "change", wallet.pk),
    ):
        assert whose in text(operator, label, page, *pk), (label, page)
    for page in ("change", "history"):
        shown = text(operator, "wallet.entry", page, entry.pk)
        assert f"{whose} : 20,00 €" in shown and "wallet:" not in shown
    revenue = Account(kind="revenue", code="revenue:1", commune=rosieres.commune)
    assert account_name(revenue) == "Recettes de Rosières"
    assert account_name(Account(kind="revenue", code="revenue:agglo")) == "Recettes de l’agglomération"
    assert (
        account_name(Account(kind="clearing", code="clearing:demo"))
        == "Encaissements à recevoir\u00a0: Carte bancaire (banque de démonstration)"
    )


def test_a_wallets_history_leads_to_its_movements(everything: dict[str, Any], operator: User) -> None:
    wallet = everything["wallet.wallet"]
    address = f"{url('wallet.entry', 'changelist')}?compte={wallet.account_id}"
    for label, pk in (("wallet.wallet", wallet.pk), ("wallet.account", wallet.account_id)):
        assert address in text(operator, label, "history", pk)
    client = client_of(operator)
    assert [entry.account_id for entry in client.get(address).context["cl"].result_list] == [wallet.account_id]
    assert Entry.objects.count() > 1
    # What is not an account shows every entry, or none, never an error.
    for wrong in ("x", "9" * 30):
        assert client.get(f"{url('wallet.entry', 'changelist')}?compte={wrong}").status_code in (200, 302)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Rosières", "de Rosières"),
        ("Aiguilhe", "d’Aiguilhe"),
        ("Élodie Roche", "d’Élodie Roche"),
        ("Le Puy-en-Velay", "du Puy-en-Velay"),
        ("Les Villettes", "des Villettes"),
        ("", "de "),
    ],
)
def test_whose(name: str, words: str) -> None:
    assert of(name) == words


def test_the_agglomeration_sees_who_wrote_a_movement(everything: dict[str, Any], rosieres: Town) -> None:
    boss = agent_of()
    assert history(boss, "wallet.movement", everything["wallet.movement"].pk) == [
        (str(rosieres.agent), "Écrit\xa0: Dépôt.")
    ]
