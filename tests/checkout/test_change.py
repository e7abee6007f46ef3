"""Changing a booking's slot or date: one action, both deadlines, the difference in the wallet, the old place never lost."""

import datetime as dt
import re
from decimal import Decimal

import pytest
from django.db import Error, transaction
from django.test import Client
from django.utils import timezone

from bookings.models import Booking, Change
from checkout.actions import Means, add_to_cart, cancel_bookings, change_booking
from checkout.models import Order, OrderLine
from checkout.verification import verify
from portal.common.errors import Refused
from portal.common.formats import long_date
from portal.outbox.models import Email
from services.models import OpenDay, Slot, Subscription, Tariff
from tests.checkout.conftest import MaxQueries
from tests.checkout.http import text
from tests.factories import OpenDayFactory, SlotFactory, TariffFactory
from tests.guards import guarded
from tests.shop import Shop, family, open_shop
from wallet.models import Movement

pytestmark = pytest.mark.django_db


def paid(credit: str = "50", **options: object) -> Shop:
    """Booked on the first of three days at 7,90 €."""
    shop = open_shop(days=3, credit=credit, **options)  # type: ignore[arg-type]
    shop.add(days=shop.days[:1])
    shop.pay(Means.WALLET, "7.90")
    return shop


def other_slot(shop: Shop, price: str, starts: int = 13) -> Slot:
    slot: Slot = SlotFactory(activity=shop.activity, name="Journée", starts_at=dt.time(starts), ends_at=dt.time(17))
    TariffFactory(slot=slot, profile=shop.tariff.profile, price=Decimal(price))
    return slot


def the_booking() -> Booking:
    return (
        Booking.objects.booked()
        .select_related("beneficiary", "slot", "open_day__activity__service")
        .order_by("pk")
        .get()
    )


def change(shop: Shop, day: int = 0, slot: Slot | None = None, difference: str = "0.00") -> Booking:
    return change_booking(
        booking=the_booking(),
        slot=slot or shop.slot,
        date=shop.days[day].date,
        shown_difference=Decimal(difference),
        by=shop.user,
    )


def standing(shop: Shop) -> tuple[object, ...]:
    """All that a refused change must leave as it was."""
    rows = Booking.objects.order_by("pk").values_list("pk", "status", "open_day", "slot")
    return (
        list(rows),
        shop.balance,
        [shop.fresh(index).taken for index in range(len(shop.days))],
        Order.objects.count(),
        Movement.objects.count(),
        Email.objects.count(),
    )


def refused(shop: Shop, code: str, **wanted: object) -> str:
    before = standing(shop)
    with pytest.raises(Refused) as refusal:
        change(shop, **wanted)  # type: ignore[arg-type]
    assert refusal.value.code == code, refusal.value
    assert standing(shop) == before
    return str(refusal.value)


class TestDone:
    def test_another_date_at_the_same_price(self) -> None:
        shop = paid()
        new = change(shop, day=1)
        assert shop.balance == Decimal("42.10") and list(verify()) == []
        assert [shop.fresh(index).taken for index in range(3)] == [0, 1, 0]
        assert the_booking() == new and the_booking().booked_at is not None
        old = Booking.objects.get(status="cancelled")
        assert old.ended_reason.startswith("Remplacée par ") and Change.objects.get().after_id == new.pk

    def test_a_dearer_slot_takes_the_difference(self) -> None:
        shop = paid()
        new = change(shop, slot=other_slot(shop, "12.50"), difference="4.60")
        assert shop.balance == Decimal("37.50") and list(verify()) == []
        order = OrderLine.objects.get(booking=new).order
        assert order.status == "paid" and order.total == Decimal("12.50") and order.terms_id and order.billing_address
        (mail,) = Email.objects.filter(key=f"order:{order.pk}:paid")
        assert "est changée" in mail.subject and "4,60" in mail.body
        assert not Email.objects.filter(key__startswith="cancellation:").exists()

    def test_a_cheaper_one_gives_it_back(self) -> None:
        shop = paid()
        change(shop, day=2, slot=other_slot(shop, "3.00"), difference="-4.90")
        assert shop.balance == Decimal("47.00") and list(verify()) == []
        assert "4,90" in Email.objects.get(subject__contains="est changée").body

    def test_a_free_one_too(self) -> None:
        shop = paid()
        change(shop, slot=other_slot(shop, "0.00"), difference="-7.90")
        assert shop.balance == 50 and list(verify()) == []

    def test_what_was_changed_may_be_changed_again_and_cancelled(self) -> None:
        shop = paid()
        change(shop, day=1)
        change(shop, day=0)
        cancel_bookings(ids=[the_booking().pk], by=shop.user)
        assert shop.balance == 50 and list(verify()) == [] and Change.objects.count() == 2

    def test_on_a_full_day_the_family_keeps_its_own_place(self) -> None:
        shop = paid(capacity=1)
        change(shop, slot=other_slot(shop, "7.90"))
        assert shop.fresh(0).taken == 1

    def test_the_price_is_that_of_the_situation_it_was_sold_to(self) -> None:
        shop = paid()
        cheap = TariffFactory(slot=shop.slot, profile__service=shop.activity.service, price=Decimal("1.00")).profile
        Subscription.objects.create(
            user=shop.user, profile=cheap, status=Subscription.Status.APPROVED, decided_at=timezone.now()
        )
        change(shop, day=1)
        assert shop.balance == Decimal("42.10")


class TestRefused:
    def test_a_full_day(self) -> None:
        shop = paid()
        other = family(shop.tariff, credit="20")
        OpenDay.objects.filter(pk=shop.days[1].pk).update(capacity=1)
        other.add(days=shop.days[1:2])
        assert "complète" in refused(shop, "full", day=1)

    def test_past_the_deadline_to_cancel_the_old_day(self) -> None:
        shop = paid()
        OpenDay.objects.filter(pk=shop.days[0].pk).update(cancel_until=timezone.now() - dt.timedelta(seconds=1))
        assert "Trop tard pour annuler" in refused(shop, "too_late", day=1)

    def test_past_the_deadline_to_book_the_new_one(self) -> None:
        shop = paid()
        past = timezone.now() - dt.timedelta(seconds=1)
        OpenDay.objects.filter(pk=shop.days[1].pk).update(book_until=past, cancel_until=past)
        assert "n’a pas changé" in refused(shop, "not_bookable", day=1)

    def test_past_the_deadline_to_book_another_slot_of_the_same_day(self) -> None:
        shop = paid()
        slot = other_slot(shop, "7.90")
        OpenDay.objects.filter(pk=shop.days[0].pk).update(book_until=timezone.now() - dt.timedelta(seconds=1))
        refused(shop, "not_bookable", slot=slot)

    def test_a_closed_day_and_one_without_service(self) -> None:
        shop = paid()
        OpenDay.objects.filter(pk=shop.days[1].pk).update(is_open=False, closed_reason="Travaux")
        assert "Travaux" in refused(shop, "not_bookable", day=1)
        shop.days[2].date += dt.timedelta(days=300)
        before = shop.balance
        with pytest.raises(Refused) as refusal:
            change(shop, day=2)
        assert refusal.value.code == "not_bookable" and shop.balance == before

    def test_another_booking_at_that_time(self) -> None:
        shop = paid()
        elsewhere = TariffFactory(slot__activity__service=shop.activity.service, profile=shop.tariff.profile)
        day = OpenDayFactory(activity=elsewhere.slot.activity, date=shop.days[1].date)
        rival = Shop(elsewhere, shop.user, shop.children, shop.subscription, [day])
        rival.add()
        before = shop.balance
        with pytest.raises(Refused) as refusal:
            change(shop, day=1)
        assert refusal.value.code == "one_place_at_a_time" and shop.balance == before
        assert "n’a pas changé" in str(refusal.value)

    def test_a_wallet_that_holds_too_little(self) -> None:
        shop = paid(credit="10")
        said = refused(shop, "wallet_is_not_overdrawn", slot=other_slot(shop, "12.50"), difference="4.60")
        assert "4,60" in said and "2,10" in said and "rien n’a été changé" in said

    def test_another_price_than_was_shown(self) -> None:
        shop = paid()
        slot = other_slot(shop, "12.50")
        refused(shop, "changed", slot=slot, difference="0.00")
        refused(shop, "changed", slot=slot, difference="NaN")

    def test_the_same_again(self) -> None:
        refused(paid(), "same")

    def test_a_slot_without_a_price(self) -> None:
        shop = paid()
        slot = other_slot(shop, "7.90")
        Tariff.objects.filter(slot=slot).delete()
        refused(shop, "no_tariff", slot=slot)

    def test_without_access_any_more(self) -> None:
        shop = paid()
        Subscription.objects.update(status="refused", reason="x")
        refused(shop, "no_tariff", day=1)

    def test_by_somebody_else(self) -> None:
        shop = paid()
        other = family(shop.tariff)
        with pytest.raises(Refused) as refusal:
            change_booking(
                booking=the_booking(),
                slot=shop.slot,
                date=shop.days[1].date,
                shown_difference=Decimal(0),
                by=other.user,
            )
        assert refusal.value.code == "not_booked"


class TestPages:
    def browser(self, shop: Shop) -> Client:
        client = Client()
        client.force_login(shop.user)
        client.get("/")
        return client

    def test_choose_check_and_confirm_once(self, at_most: MaxQueries) -> None:
        shop = paid()
        slot = other_slot(shop, "12.50")
        client, page = self.browser(shop), f"/mon-compte/reservations/{the_booking().pk}/changer/"
        with at_most(14):  # the prices of the slots, and which days can be had
            assert "Journée" in text(client.get(page))
        wanted = {"slot": slot.pk, "date": shop.days[1].date.isoformat()}
        with at_most(17):
            check = client.get(page, wanted)
        assert "4,60 € seront pris dans votre porte-monnaie ; il y restera 37,50 €" in text(check)
        sent = {**wanted, "difference": "4.60"}
        assert "Votre réservation est changée" in text(client.post(page, sent, follow=True))
        assert "C’est déjà fait" in text(client.post(page, sent, follow=True)) and shop.balance == Decimal("37.50")
        words = text(client.get(f"/mon-compte/reservations/{the_booking().pk}/"))
        assert "Remplace " in words and "par vous" in words

    @pytest.mark.parametrize(
        "sent", [{}, {"slot": "x", "date": "x"}, {"slot": "9" * 30, "date": "2026-13-45"}, {"date": "9999-12-31"}]
    )
    def test_what_cannot_be_read_is_asked_again(self, sent: dict[str, str]) -> None:
        shop = paid()
        client, page = self.browser(shop), f"/mon-compte/reservations/{the_booking().pk}/changer/"
        assert client.get(page, sent).status_code == 200 and client.post(page, sent).status_code in {200, 422}
        assert shop.balance == Decimal("42.10")

    @pytest.mark.parametrize("difference", ["", "x", "NaN", "1e999", "0"])
    def test_a_forged_difference_changes_nothing(self, difference: str) -> None:
        shop = paid()
        slot = other_slot(shop, "12.50")
        client, page = self.browser(shop), f"/mon-compte/reservations/{the_booking().pk}/changer/"
        wanted = {"slot": slot.pk, "date": shop.days[1].date.isoformat(), "difference": difference}
        assert "Le tarif a changé" in text(client.post(page, wanted))
        assert shop.balance == Decimal("42.10") and not Change.objects.exists()

    @pytest.mark.parametrize(
        "case, words",
        [
            ("own", "est déjà réservé ou dans votre panier"),
            ("full", "Cette date est complète"),
            ("elsewhere", "à la même heure"),
            ("closed", "Grève"),
            ("late", "Trop tard pour réserver"),
            ("too late to cancel", "Trop tard pour annuler"),
            ("slot full", "complète pour « Journée »"),
        ],
    )
    def test_what_would_be_refused_is_not_shown_to_be_confirmed(self, case: str, words: str) -> None:
        """The page that asks to confirm says what the press would say, and the list does not propose it."""
        shop = paid()
        first, wanted = the_booking(), {"slot": shop.slot.pk, "date": shop.days[1].date.isoformat()}
        there = OpenDay.objects.filter(pk=shop.days[1].pk)
        if case == "own":
            shop.add(days=shop.days[1:2])
        if case == "full":
            other = family(shop.tariff, days=shop.days[1:2])
            there.update(capacity=1)
            other.add()
        if case == "elsewhere":
            elsewhere = TariffFactory(slot__activity__service=shop.activity.service, profile=shop.tariff.profile)
            day = OpenDayFactory(activity=elsewhere.slot.activity, date=shop.days[1].date)
            Shop(elsewhere, shop.user, shop.children, shop.subscription, [day]).add()
        if case == "closed":
            there.update(is_open=False, closed_reason="Grève")
        if case == "late":
            there.update(book_until=timezone.now() - dt.timedelta(minutes=1))
        if case == "too late to cancel":
            OpenDay.objects.filter(pk=shop.days[0].pk).update(cancel_until=timezone.now() - dt.timedelta(minutes=1))
        if case == "slot full":
            slot = other_slot(shop, "12.50")
            Slot.objects.filter(pk=slot.pk).update(capacity=1)
            slot.refresh_from_db()
            taker = family(shop.tariff, days=shop.days[:1])
            add_to_cart(
                user=taker.user,
                activity=shop.activity,
                slot=slot,
                subscription=taker.subscription,
                wishes=taker.wishes(),
            )
            wanted = {"slot": slot.pk, "date": shop.days[0].date.isoformat()}
        client, page = self.browser(shop), f"/mon-compte/reservations/{first.pk}/changer/"
        shown = text(client.get(page, wanted))
        assert words in shown and "Confirmer" not in shown and "n’a" in shown
        refused = text(client.post(page, wanted | {"difference": "0.00"}))
        assert "Confirmer" not in refused and Booking.objects.booked().filter(pk=first.pk).exists()
        if case not in {"too late to cancel", "slot full"}:
            options = re.findall(r'<option value="([^"]*)"', client.get(page).content.decode())
            assert options == [shop.days[2].date.isoformat()]

    def test_the_slots_say_their_prices_and_the_list_which_day_is_booked(self) -> None:
        shop = paid()
        slot = other_slot(shop, "12.50")
        Slot.objects.filter(pk=slot.pk).update(capacity=1)
        other = family(shop.tariff, days=shop.days[2:3])
        add_to_cart(
            user=other.user, activity=shop.activity, slot=slot, subscription=other.subscription, wishes=other.wishes()
        )
        words = text(self.browser(shop).get(f"/mon-compte/reservations/{the_booking().pk}/changer/"))
        assert "7,90 € votre prestation actuelle" in words and "12,50 €" in words
        assert "(votre date actuelle, pour une autre prestation)" in words and "(seulement Matin" in words
        assert f"Réservé pour l’instant : {long_date(shop.days[0].date)}" in words

    def test_too_little_money_is_said_before(self) -> None:
        shop = paid(credit="8")
        slot = other_slot(shop, "12.50")
        page = f"/mon-compte/reservations/{the_booking().pk}/changer/"
        words = text(self.browser(shop).get(page, {"slot": slot.pk, "date": shop.days[1].date.isoformat()}))
        assert "il manque 4,50 €" in words and "Confirmer" not in words


class TestGuards:
    def test_a_change_keeps_child_and_activity(self) -> None:
        shop = paid()
        other = family(shop.tariff, credit="20")
        other.add(days=shop.days[1:2])
        other.pay(Means.WALLET, "7.90")
        first, second = Booking.objects.order_by("pk")
        cancel_bookings(ids=[first.pk], by=shop.user)
        guarded(
            "bookings.Change:change_keeps_child_and_activity",
            lambda: Change.objects.create(before=first, after=second, by=shop.user),
            "replaced by one of the same child and activity",
            Change.objects.exists,
        )

    def test_a_change_is_kept(self) -> None:
        change(paid(), day=1)
        with pytest.raises(Error, match="Cannot update or delete"), transaction.atomic():
            Change.objects.all()._raw_delete("default")


@pytest.mark.parametrize("later", [{"meal_price": Decimal("4.20")}, {"nature": "", "meal_price": None}])
def test_its_line_keeps_what_its_price_pays_for(later: dict[str, object]) -> None:
    """As every line does: what the commune declares afterwards is of other orders."""
    shop = paid()
    both = {"nature": "both", "includes_meal": True, "meal_price": Decimal("3.70")}
    Slot.objects.filter(pk=shop.slot.pk).update(**both)
    change(shop, day=1, slot=Slot.objects.get(pk=shop.slot.pk))
    Slot.objects.filter(pk=shop.slot.pk).update(**later)
    line = OrderLine.objects.latest("pk")
    assert (line.booking, line.nature, line.meal_price) == (the_booking(), "both", Decimal("3.70"))
