"""Closures: who is touched, nobody books what is closed, one undo, then money and one e-mail to each family."""

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pytest
from django.db import Error, IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from bookings.closures.actions import DELAY, decide, fingerprint, undo
from bookings.closures.models import ClosedBooking, ClosedDay, Closure
from bookings.models import Booking
from bookings.waiting.actions import sweep
from checkout.actions import Means, cancel_bookings, recover_places
from checkout.actions.closures import apply_closure, impact
from checkout.tasks import apply_closures
from checkout.verification import verify
from families.models import Enrolment, Filiation
from portal.common.errors import Refused
from portal.common.formats import enumeration, long_date
from portal.outbox.models import Email
from services.models import OpenDay
from services.moments import recompute_limits
from services.school_calendar import school_year
from tests.factories import ClassroomFactory, CommuneFactory, EnrolmentFactory, SchoolFactory, ServiceFactory, agent_of
from tests.guards import guarded, sql, undone
from tests.shop import Shop, family, open_shop
from tests.vouchers.making import order_with, voucher
from tests.waiting import entries, neighbour, wait
from wallet.models import Movement

pytestmark = pytest.mark.django_db


def paid_shop(**options: Any) -> Shop:
    """A family that has booked and paid each of two days, for two children."""
    shop = open_shop(days=2, children=2, credit="100", **options)
    shop.add()
    shop.pay(Means.WALLET, "31.60")
    return shop


def agent(shop: Shop) -> User:
    return agent_of(shop.activity.service.commune)


def plan(shop: Shop, **facts: Any) -> Closure:
    """The first day of the shop's activity, for snow."""
    first = facts.pop("first_day", shop.days[0].date)
    target: dict[str, Any] = {"scope": "activity", "activity": shop.activity, "commune": shop.activity.service.commune}
    if "scope" in facts:
        target = {"commune": shop.activity.service.commune}
    return Closure(**{"first_day": first, "last_day": first, "reason": "Neige", **target, **facts})


def decided(shop: Shop, by: User | None = None, **facts: Any) -> Closure:
    closure = plan(shop, **facts)
    return decide(closure=closure, seen=fingerprint(closure), by=by or agent(shop))


def due(closure: Closure) -> None:
    Closure.objects.filter(pk=closure.pk).update(leaves_at=timezone.now())


class TestWhoIsTouched:
    def test_families_children_and_euros_by_activity(self, django_assert_max_num_queries: Any) -> None:
        shop = paid_shop()
        other = family(shop.tariff, days=shop.days, credit="100")
        other.add()
        other.pay(Means.WALLET, "15.80")
        with django_assert_max_num_queries(3):
            found = impact(plan(shop))
        assert (found.all.families, found.all.children, found.all.bookings) == (2, 3, 3)
        assert found.all.total == Decimal("23.70") and len(found.activities) == 1
        assert impact(plan(shop, scope="commune", last_day=shop.days[1].date)).all.bookings == 6

    def test_a_school_and_a_class_touch_their_pupils(self) -> None:
        shop = paid_shop()
        school = SchoolFactory(commune=shop.activity.service.commune)
        year = school_year(shop.days[0].date)[0].year
        EnrolmentFactory(beneficiary=shop.children[0], school=school, level="cp", year=year)
        EnrolmentFactory(beneficiary=shop.children[1], level="cp", year=year)
        assert impact(plan(shop, scope="school", school=school)).all.children == 1
        assert impact(plan(shop, scope="class", school=school, levels=["cp"])).all.children == 1
        assert impact(plan(shop, scope="class", school=school, levels=["cm2"])).all.children == 0
        room = ClassroomFactory(school=school, year=year)
        assert impact(plan(shop, scope="classroom", school=school, classroom=room)).all.children == 0
        Enrolment.objects.filter(school=school).update(classroom=room)
        assert impact(plan(shop, scope="classroom", school=school, classroom=room)).all.children == 1


class TestDeciding:
    def test_the_day_is_closed_at_once_and_nothing_else_moves(self) -> None:
        shop = paid_shop()
        other = family(shop.tariff, days=shop.days)
        closure = decided(shop)
        assert (shop.fresh().is_open, shop.fresh().closed_reason, shop.fresh().taken) == (False, "Neige", 2)
        assert shop.fresh(1).is_open
        with pytest.raises(Refused, match="Neige"):
            other.add(days=shop.days[:1])
        assert Booking.objects.booked().count() == 4 and shop.balance == Decimal("68.40")
        assert not Email.objects.filter(key__startswith="closure:").exists()
        assert closure.leaves_at - timezone.now() > DELAY - dt.timedelta(minutes=1)
        assert closure.closed_bookings.count() == 2

    def test_carts_lose_the_places_and_are_told(self) -> None:
        shop = open_shop(days=2)
        shop.add()
        decided(shop)
        assert sorted(Booking.objects.values_list("status", flat=True)) == ["expired", "held"]
        (sentence,) = recover_places(user=shop.user)
        assert "ont quitté votre panier" in sentence and "Rien n’a été débité" in sentence
        assert shop.cart.lines.count() == 1

    def test_what_has_changed_since_it_was_shown_is_shown_again(self) -> None:
        shop = paid_shop()
        closure = plan(shop)
        seen = fingerprint(closure)
        cancel_bookings(ids=[Booking.objects.filter(open_day=shop.days[0])[0].pk], by=shop.user)
        with pytest.raises(Refused, match="vérifiez de nouveau") as refused:
            decide(closure=closure, seen=seen, by=agent(shop))
        assert refused.value.code == "changed" and shop.fresh().is_open and not Closure.objects.exists()

    def test_what_cannot_be_decided(self) -> None:
        shop = paid_shop()
        past = dt.date(2020, 1, 1)
        for facts, by, code in (
            ({}, agent_of(CommuneFactory()), "out_of_scope"),
            ({"reason": " "}, None, "reason_missing"),
            ({"first_day": past}, None, "past"),
            ({"last_day": shop.days[0].date - dt.timedelta(days=1)}, None, "dates_reversed"),
            ({"last_day": shop.days[0].date + dt.timedelta(days=400)}, None, "two_years"),
            ({"first_day": shop.days[0].date + dt.timedelta(days=9)}, None, "nothing_open"),
            ({"scope": "service", "service": ServiceFactory()}, None, "out_of_scope"),
        ):
            with pytest.raises(Refused) as refused:
                decided(shop, by, **facts)
            assert refused.value.code == code, facts
        assert not Closure.objects.exists()
        decided(shop)
        with pytest.raises(Refused) as refused:
            decided(shop)
        assert refused.value.code == "another"

    def test_a_service_of_the_agglomeration_is_closed_by_operators(self) -> None:
        shop = paid_shop()
        type(shop.activity.service).objects.update(commune=None)
        facts = {"scope": "activity", "activity": shop.activity, "commune": None}
        with pytest.raises(Refused):
            decided(shop, agent_of(CommuneFactory()), **facts)
        assert decided(shop, agent_of(), **facts).closed_bookings.count() == 2


class TestUndoing:
    def test_everything_is_as_it_was(self) -> None:
        shop = paid_shop()
        recompute_limits(activities=[shop.activity.pk])  # days as their rules make them
        before = list(Booking.objects.order_by("pk").values())
        days = list(OpenDay.objects.order_by("pk").values())
        money = Movement.objects.count()
        closure = undo(closure=decided(shop), by=agent(shop))
        assert closure.status == "undone"
        assert list(Booking.objects.order_by("pk").values()) == before
        assert list(OpenDay.objects.order_by("pk").values()) == days
        assert Movement.objects.count() == money and apply_closures() == 0
        with pytest.raises(Refused, match="déjà annulée"):
            undo(closure=closure, by=agent(shop))
        with pytest.raises(Refused, match="a été annulée"):
            apply_closure(closure=closure, by=agent(shop))
        # A day set by hand stays so; the same day may be closed again.
        OpenDay.objects.update(by_hand=True)
        undo(closure=decided(shop), by=agent(shop))
        assert shop.fresh().by_hand and shop.fresh().is_open

    def test_not_after_the_e_mails_and_not_by_another_commune(self) -> None:
        shop = paid_shop()
        closure = decided(shop)
        with pytest.raises(Refused) as refused:
            undo(closure=closure, by=agent_of(CommuneFactory()))
        assert refused.value.code == "out_of_scope"
        due(closure)
        with pytest.raises(Refused, match="Trop tard"):
            undo(closure=closure, by=agent(shop))


class TestApplying:
    def test_places_end_money_comes_back_and_each_family_gets_one_e_mail(self) -> None:
        shop = paid_shop()
        other = family(shop.tariff, days=shop.days, credit="100")
        other.add()
        other.pay(Means.WALLET, "15.80")
        closure = decided(shop, last_day=shop.days[1].date)
        assert apply_closures() == 0
        due(closure)
        assert apply_closures() == 1 and apply_closures() == 0
        assert not Booking.objects.booked().exists() and shop.fresh().taken == 0 and not shop.fresh().is_open
        assert (shop.balance, other.balance) == (Decimal(100), Decimal(100))
        letters = Email.objects.filter(key__startswith="closure:")
        assert {letter.to for letter in letters} == {shop.user.email, other.user.email}
        letter = letters.get(to=shop.user.email)
        named = ", ".join(str(child) for child in shop.children)
        assert letter.body.count(named) == 1 and "Neige" in letter.body and "31,60" in letter.body
        assert list(verify()) == []
        assert {row.ended_reason for row in Booking.objects.all()} == {"Fermeture\xa0: Neige"}

    def test_the_e_mail_says_what_becomes_of_a_voucher(self) -> None:
        shop = open_shop(days=2, credit="100")
        voucher()
        order_with(shop, "RENTREE10", total="14.22")
        apply_closure(closure=decided(shop), by=agent(shop))
        body = Email.objects.get(key__startswith="closure:").body
        assert (
            "Prix : 7,90\u00a0€, dont part des bons de réduction : 0,79\u00a0€, qui n’est pas rendue en argent." in body
        )
        assert "RENTREE10 reste utilisé" in body and "7,11\u00a0€ sont revenus" in body
        apply_closure(closure=decided(shop, first_day=shop.days[1].date, last_day=shop.days[1].date), by=agent(shop))
        assert "RENTREE10 pourra resservir" in Email.objects.filter(key__startswith="closure:").latest("pk").body
        assert list(verify()) == []

    def test_the_wallet_counts_dates_not_children(self) -> None:
        shop = paid_shop()
        apply_closure(closure=decided(shop), by=agent(shop))
        label = Movement.objects.latest("pk").label
        names = enumeration(child.first_name for child in shop.children)
        assert label.endswith(f"{long_date(shop.days[0].date)} ({names})") and "autre date" not in label

    def test_a_movement_names_the_children_of_its_own_family(self) -> None:
        shop = paid_shop()
        other = family(shop.tariff, days=shop.days, credit="100")
        other.add()
        other.pay(Means.WALLET, "15.80")
        apply_closure(closure=decided(shop), by=agent(shop))
        back = Movement.objects.filter(
            label__startswith="Fermeture", entries__account__wallet__user__in=[shop.user, other.user]
        )
        told = {row.entries.get(amount__gt=0).amount: row.label.rpartition(" (")[2] for row in back}
        first, second = shop.children
        assert told == {
            Decimal("15.80"): f"{first.first_name} et {second.first_name})",
            Decimal("7.90"): f"{other.children[0].first_name})",
        }

    def test_at_once_when_it_cannot_wait_and_never_twice(self) -> None:
        shop = paid_shop()
        closure, by = decided(shop), agent(shop)
        assert apply_closure(closure=closure, by=by) == 1
        assert apply_closure(closure=closure, by=by) == 0
        assert shop.balance == Decimal("84.20")

    def test_who_cancelled_meanwhile_is_paid_once(self) -> None:
        shop = paid_shop()
        closure = decided(shop)
        cancel_bookings(ids=[closure.closed_bookings.order_by("pk")[0].booking_id], by=shop.user)
        due(closure)
        apply_closures()
        assert shop.balance == Decimal("84.20") and list(verify()) == []

    def test_waiting_lists_outlive_a_closure_that_is_taken_back(self) -> None:
        shop = paid_shop(capacity=2)
        waiting = neighbour(shop)
        wait(waiting, days=shop.days[:1])
        by = agent(shop)
        closure = decided(shop, by=by)
        assert sweep() == 0 and [row.status for row in entries(waiting)] == ["waiting"]
        undo(closure=closure, by=by)
        assert sweep() == 0 and [row.status for row in entries(waiting)] == ["waiting"]

    def test_waiting_lists_of_the_day_are_withdrawn(self) -> None:
        shop = paid_shop(capacity=2)
        waiting = neighbour(shop)
        wait(waiting, days=shop.days[:1])
        closure = decided(shop)
        assert [row.status for row in entries(waiting)] == ["waiting"]
        due(closure)
        apply_closures()
        assert [row.status for row in entries(waiting)] == ["withdrawn"]
        assert shop.fresh().taken == 0

    def test_a_family_that_had_booked_one_day_and_waited_for_another_gets_one_e_mail(self) -> None:
        shop = open_shop(days=2, credit="100", capacity=1)
        shop.add(days=shop.days[:1])
        shop.pay(Means.WALLET, "7.90")
        other = neighbour(shop, credit="100")
        other.add(days=shop.days[1:])
        other.pay(Means.WALLET, "7.90")
        alone = neighbour(shop)
        wait(shop, days=shop.days[1:])
        wait(alone, days=shop.days[1:])
        both = {"first_day": shop.days[0].date, "last_day": shop.days[1].date}
        assert impact(plan(shop, **both)).waiting_families == 2
        before = Email.objects.count()
        assert apply_closure(closure=decided(shop, **both), by=agent(shop)) == 3
        letters = {row.to: row.body for row in Email.objects.order_by("pk")[before:]}
        assert Email.objects.count() - before == 3 and set(letters) == {
            shop.user.email,
            other.user.email,
            alone.user.email,
        }
        assert "prend fin" in letters[shop.user.email] and "sont annulées" in letters[shop.user.email]
        assert "prend fin" not in letters[other.user.email] and "porte-monnaie" not in letters[alone.user.email]


class TestPupils:
    @pytest.fixture
    def shop(self) -> Shop:
        """Two children who have booked the first day only; the first goes to the school that closes."""
        shop = open_shop(days=2, children=2, credit="100")
        shop.add(days=shop.days[:1])
        shop.pay(Means.WALLET, "15.80")
        self.school = SchoolFactory(commune=shop.activity.service.commune, name="École du Rocher")
        year = school_year(shop.days[0].date)[0].year
        EnrolmentFactory(beneficiary=shop.children[0], school=self.school, level="cp", year=year)
        EnrolmentFactory(beneficiary=shop.children[1], school=self.school, level="cm1", year=year)
        return shop

    def test_the_day_stays_open_to_the_others(self, shop: Shop) -> None:
        closure = decided(
            shop, scope="class", school=self.school, levels=["cp"], last_day=shop.days[1].date, reason="Sortie"
        )
        with pytest.raises(Refused, match="École du Rocher") as refused:
            shop.add(days=shop.days[1:])
        assert refused.value.code == "school_closed" and len(refused.value.messages) == 2
        assert shop.add(days=shop.days[1:], children=shop.children[1:]).quantity == 1
        assert shop.fresh().is_open and not ClosedDay.objects.exists()
        due(closure)
        apply_closures()
        assert [row.beneficiary for row in Booking.objects.booked()] == [shop.children[1]]
        with pytest.raises(Refused, match="Sortie"):
            shop.add(days=shop.days[:1], children=shop.children[:1])

    def test_a_place_that_a_pupil_leaves_goes_to_who_waits(self, shop: Shop) -> None:
        OpenDay.objects.filter(pk=shop.days[0].pk).update(capacity=2)
        waiting = neighbour(shop)
        wait(waiting, days=shop.days[:1])
        closure = decided(shop, scope="class", school=self.school, levels=["cp"])
        due(closure)
        apply_closures()
        assert [row.status for row in entries(waiting)] == ["offered"] and shop.fresh().taken == 2

    def test_who_has_no_declared_school_is_named_and_left_alone(self, shop: Shop) -> None:
        other = family(shop.tariff, children=2, credit="100", days=shop.days[:1])
        other.add()
        other.pay(Means.WALLET, "15.80")
        Filiation.objects.filter(beneficiary=other.children[1]).update(kind="self")
        closure = plan(shop, scope="school", school=self.school)
        found = impact(closure)
        assert [row.beneficiary for row in found.unsure] == other.children[:1] and found.unsure_children == 1
        client = Client()
        client.force_login(agent(shop), backend="allauth.account.auth_backends.AuthenticationBackend")
        day = f"{shop.days[0].date:%Y-%m-%d}"
        asked = {"quoi": f"school:{self.school.pk}", "du": day, "au": day, "motif": "Neige"}
        page = client.get(reverse("admin:bookings_closure_new"), asked).content.decode()
        booking = Booking.objects.get(beneficiary=other.children[0])
        (address,) = re.findall(rf'href="([^"]*)">{booking.beneficiary}<', page)
        there = client.get(address.replace("&amp;", "&")).context["cl"].result_list
        assert booking in there and {row.date for row in there} == {shop.days[0].date}
        assert "1 enfant sans école ou sans classe déclarée a aussi réservé" in page.replace("\xa0", " ")
        apply_closure(closure=decided(shop, scope="school", school=self.school), by=agent(shop))
        booking.refresh_from_db()
        assert booking.status == "booked"
        assert impact(plan(shop)).unsure == []  # a closed activity is closed to everybody

    def test_without_a_known_class_nobody_knows_either(self, shop: Shop) -> None:
        room = ClassroomFactory(school=self.school)
        found = impact(plan(shop, scope="classroom", school=self.school, classroom=room))
        assert found.all.children == 0 and found.unsure_children == 2

    def test_the_database_refuses_it_too(self, shop: Shop) -> None:
        shop.add(days=shop.days[1:], children=shop.children[1:])
        row = Booking.objects.held().get()
        decided(shop, scope="class", school=self.school, levels=["cp"], last_day=shop.days[1].date)
        row.pk, row.beneficiary = None, shop.children[0]
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        guarded(
            "bookings.Booking:booking_of_an_open_school",
            lambda: Booking.objects.bulk_create([row]),
            "the school of the beneficiary is closed",
            lambda: Booking.objects.held().count() == 2,
        )

    def test_nor_is_a_lost_place_taken_again(self, shop: Shop) -> None:
        shop.add(days=shop.days[1:], children=shop.children[:1])
        decided(shop, scope="class", school=self.school, levels=["cp"], last_day=shop.days[1].date)
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        guarded(
            "bookings.Booking:retaken_in_an_open_school",
            lambda: Booking.objects.filter(status="expired").update(status="held", ended_at=None),
            "the school of the beneficiary is closed",
            lambda: Booking.objects.held().exists(),
        )

    def test_an_absent_teacher_closes_one_class(self, shop: Shop) -> None:
        year = school_year(shop.days[0].date)[0].year
        room = ClassroomFactory(school=self.school, year=year, name="CP de Mme Martin")
        Enrolment.objects.filter(beneficiary=shop.children[0]).update(classroom=room)
        shop.add(days=shop.days[1:], children=shop.children[1:])
        row = Booking.objects.held().get()
        closed = {"scope": "classroom", "school": self.school, "classroom": room, "last_day": shop.days[1].date}
        assert decided(shop, **closed).target == "École du Rocher (CP de Mme Martin)"
        with pytest.raises(Refused, match="CP de Mme Martin") as refused:
            shop.add(days=shop.days[1:])
        assert len(refused.value.messages) == 2
        row.pk, row.beneficiary = None, shop.children[0]
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        guarded(
            "bookings.Booking:booking_of_an_open_school",
            lambda: Booking.objects.bulk_create([row]),
            "the school of the beneficiary is closed",
            lambda: Booking.objects.held().count() == 2,
        )
        with pytest.raises(Refused, match="une autre année scolaire"):
            decided(shop, **closed | {"classroom": ClassroomFactory(school=self.school, year=year + 1)})

    def test_undone_it_keeps_nobody_away(self, shop: Shop) -> None:
        undo(closure=decided(shop, scope="school", school=self.school, last_day=shop.days[1].date), by=agent(shop))
        assert shop.add(days=shop.days[1:]).quantity == 2

    def test_a_cart_loses_the_pupil_s_places_for_good(self, shop: Shop) -> None:
        shop.add(days=shop.days[1:])
        decided(shop, scope="class", school=self.school, levels=["cp"], last_day=shop.days[1].date)
        (sentence,) = recover_places(user=shop.user)
        assert shop.children[0].first_name in sentence and shop.cart.lines.count() == 1

    def test_the_booking_page_says_so(self, shop: Shop) -> None:
        decided(shop, scope="school", school=self.school, last_day=shop.days[1].date)
        client = Client()
        client.force_login(shop.user, backend="allauth.account.auth_backends.AuthenticationBackend")
        page = client.get(shop.activity.get_absolute_url()).content.decode()
        assert "École du Rocher (Neige)" in page
        assert not re.findall(r'name="dates" value="[^"]+"', page)  # both go there


class TestPages:
    def test_choose_look_confirm_undo(self, django_assert_max_num_queries: Any) -> None:
        shop = paid_shop()
        client, by = Client(), agent(shop)
        client.force_login(by, backend="allauth.account.auth_backends.AuthenticationBackend")
        new = reverse("admin:bookings_closure_new")
        assert "Voir qui est touché" in client.get(new).content.decode()
        day = f"{shop.days[0].date:%Y-%m-%d}"
        asked = {"quoi": f"activity:{shop.activity.pk}", "du": day, "au": day, "motif": "Grève"}
        with django_assert_max_num_queries(16):
            page = client.get(new, asked)
        words = page.content.decode().replace("\xa0", " ")
        assert "15,80 €" in words and "Confirmer la fermeture" in words and not Closure.objects.exists()
        for wrong, says in (
            ({"quoi": ""}, "errorlist"),
            ({"quoi": "commune:0"}, "errorlist"),
            ({"classes": ["cp"]}, "choisissez l’école"),
            ({"du": "2020-01-01"}, "aujourd’hui au plus tôt"),
        ):
            assert says in client.get(new, asked | wrong).content.decode()
        stale = client.post(new, asked | {"vu": "x"}, follow=True)
        assert "vérifiez de nouveau" in stale.content.decode() and not Closure.objects.exists()
        page = client.post(new, asked | {"vu": page.context["seen"]}, follow=True)
        closure = Closure.objects.get()
        assert "Annuler la fermeture" in page.content.decode()
        for name in ("undo", "apply"):
            back = client.get(reverse(f"admin:bookings_closure_{name}", args=[closure.pk]))  # « Précédent »
            assert back["Location"] == reverse("admin:bookings_closure_change", args=[closure.pk])
            assert Closure.objects.get().status == "confirmed"
        page = client.post(reverse("admin:bookings_closure_undo", args=[closure.pk]), follow=True)
        assert "aucun argent n’a bougé" in page.content.decode() and shop.fresh().is_open
        again = client.get(new, asked)
        client.post(new, asked | {"vu": again.context["seen"]})
        page = client.post(reverse("admin:bookings_closure_apply", args=[Closure.objects.latest("pk").pk]), follow=True)
        assert "1 famille est remboursée et prévenue." in page.content.decode()
        assert (
            "Trop tard"
            in client.post(
                reverse("admin:bookings_closure_undo", args=[Closure.objects.latest("pk").pk]), follow=True
            ).content.decode()
        )

    def test_strangers_find_nothing(self) -> None:
        shop = paid_shop()
        closure, client = decided(shop), Client()
        client.force_login(agent_of(CommuneFactory()), backend="allauth.account.auth_backends.AuthenticationBackend")
        for name in ("undo", "apply"):
            assert client.post(reverse(f"admin:bookings_closure_{name}", args=[closure.pk])).status_code == 404
        day = f"{shop.days[0].date:%Y-%m-%d}"
        asked = {"quoi": f"activity:{shop.activity.pk}", "du": day, "au": day, "motif": "Grève"}
        page = client.get(reverse("admin:bookings_closure_new"), asked)
        assert page.context["closure"] is None and shop.activity.name not in page.content.decode()


class TestGuards:
    def test_a_booked_day_is_closed_by_a_closure_alone(self) -> None:
        shop = paid_shop()
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        guarded(
            "services.OpenDay:booked_day_closes_by_a_closure",
            lambda: OpenDay.objects.filter(pk=shop.days[0].pk).update(is_open=False, closed_reason="x"),
            "is closed by a closure",
            lambda: not shop.fresh().is_open,
        )

    @pytest.mark.parametrize("start, end", [("sent", "confirmed"), ("undone", "sent"), ("sent", "undone")])
    def test_states(self, start: str, end: str) -> None:
        shop = paid_shop()
        closure = decided(shop)
        apply_closure(closure=closure, by=agent(shop)) if start == "sent" else undo(closure=closure, by=agent(shop))
        facts = {"status": end, "ended_by": agent(shop) if end == "undone" else None}
        facts["ended_at"] = None if end == "confirmed" else timezone.now()
        guarded(
            "bookings.Closure:closure_transitions",
            lambda: Closure.objects.update(**facts),
            "Invalid transition",
            lambda: Closure.objects.filter(status=end).exists(),
        )

    def test_what_is_kept_and_frozen(self) -> None:
        shop = paid_shop()
        closure = decided(shop)
        guarded(
            "bookings.Closure:closure_is_frozen",
            lambda: Closure.objects.update(reason="Autre"),
            "Cannot update",
            lambda: Closure.objects.filter(reason="Autre").exists(),
        )
        for model, guard in ((ClosedDay, "closed_days_are_kept"), (ClosedBooking, "closed_bookings_are_kept")):
            guarded(
                f"bookings.{model.__name__}:{guard}",
                lambda model=model: model.objects.all()._raw_delete("default"),  # type: ignore[misc]
                "Cannot delete",
                lambda model=model: not model.objects.exists(),  # type: ignore[misc]
            )
        with pytest.raises(Error, match="Cannot delete"), transaction.atomic():
            Closure.objects.filter(pk=closure.pk)._raw_delete("default")

    @pytest.mark.parametrize(
        "name, facts",
        [
            ("closure_names_what_it_closes", {"activity": None}),
            ("closure_names_what_it_closes", {"scope": "school"}),
            ("closure_names_what_it_closes", {"levels": ["cp"]}),
            ("closure_names_what_it_closes", {"scope": "classroom"}),
            ("closure_days_are_in_order", {"last_day": dt.date(2020, 1, 1)}),
            ("closure_says_why", {"reason": ""}),
            ("ended_closure_is_dated", {"status": "sent"}),
        ],
    )
    def test_a_closure_that_is_none(self, name: str, facts: dict[str, Any]) -> None:
        shop = open_shop(days=1)
        row = plan(shop)
        row.made_by, row.leaves_at = shop.user, timezone.now()
        for field, value in facts.items():
            setattr(row, field, value)
        with undone():
            sql(f"ALTER TABLE bookings_closure DROP CONSTRAINT {name}")
            row.save()
        row.pk = None
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            row.save(force_insert=True)
