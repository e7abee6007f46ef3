"""Nobody decides about their own family's money: agents who are parents leave it to another person of the service."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.utils import timezone

from accounts.models import StaffRole, User
from bookings.absence_actions import report_absence
from bookings.absences import Absence
from bookings.models import Booking
from checkout.actions import Means, cancel_for, justify_absence, refuse_absence
from checkout.actions.closures import apply_closure
from checkout.counter.actions import Paper, take_payment, take_top_up
from checkout.counter.models import CounterReceipt
from checkout.counter.models import Means as AtCounter
from checkout.models import Order, Payment
from checkout.verification import verify
from families.models import Filiation
from portal.common.errors import Refused
from services.models import AbsenceRule, OpenDay
from tests.admin.test_cancelling import LIST, fields
from tests.admin.world import client_of, url
from tests.checkout.http import text
from tests.checkout.test_absences import away, report
from tests.checkout.test_closures import decided
from tests.factories import AbsenceRuleFactory, AddressFactory, FiliationFactory, StaffRoleFactory, TermsFactory
from tests.guards import guarded, sql
from tests.shop import Shop, family, open_shop

pytestmark = pytest.mark.django_db
ANOTHER = "une autre personne du service s’en charge"


def also_staff(user: User, shop: Shop) -> User:
    """The parent works for the commune whose service it is."""
    User.objects.filter(pk=user.pk).update(is_staff=True)
    StaffRoleFactory(user=user, commune=shop.activity.service.commune)
    return User.objects.get(pk=user.pk)


def also_operator(user: User) -> User:
    User.objects.filter(pk=user.pk).update(is_staff=True)
    StaffRoleFactory(user=user, kind=StaffRole.Kind.OPERATOR, commune=None)
    return User.objects.get(pk=user.pk)


def payer(shop: Shop) -> User:
    return shop.user


def other_parent(shop: Shop) -> User:
    """Who answers for the child, and has paid nothing."""
    return FiliationFactory(beneficiary=shop.children[0]).user


def who_booked(shop: Shop) -> User:
    """Who paid, and answers for the child no longer."""
    Filiation.objects.filter(user=shop.user).update(ended_at=timezone.now())
    return shop.user


def by_another_child(shop: Shop) -> User:
    """The other parent of the payer's other child: their credits pay the same child's dates."""
    return FiliationFactory(beneficiary=FiliationFactory(user=shop.user).beneficiary).user


EVERYBODY = pytest.mark.parametrize("who", [payer, other_parent, who_booked, by_another_child])


def refused(action: Callable[..., object], **arguments: Any) -> str:
    with pytest.raises(Refused) as refusal:
        action(**arguments)
    assert refusal.value.code in {"own_family", "own_account"}
    assert list(verify()) == []
    return str(refusal.value)


class TestCancelling:
    @pytest.fixture
    def shop(self) -> Shop:
        shop = open_shop(days=2, credit="50")
        shop.add()
        shop.pay(Means.WALLET, "15.80")
        return shop

    def ids(self, shop: Shop) -> list[int]:
        return list(Booking.objects.filter(made_by=shop.user).order_by("period").values_list("pk", flat=True))

    def too_late(self) -> None:
        OpenDay.objects.update(cancel_until=timezone.now() - dt.timedelta(days=1))

    @EVERYBODY
    def test_what_was_given_is_not_paid_back_by_its_own_family(self, shop: Shop, who: Callable[[Shop], User]) -> None:
        agent = also_staff(who(shop), shop)
        self.too_late()
        data = {"ids": self.ids(shop), "by": agent, "reason": "Erreur"}
        with pytest.raises(Refused) as late:
            cancel_for(**data)
        assert late.value.code == "too_late"
        said = refused(cancel_for, override=True, **data)
        assert ANOTHER in said and str(shop.children[0]) in said and "Rien n’a été annulé ni remboursé." in said
        assert shop.balance == Decimal("34.20") and Booking.objects.booked().count() == 2

    def test_in_time_they_have_what_every_family_has_the_wallet(self, shop: Shop) -> None:
        also_staff(shop.user, shop)
        operator = also_operator(shop.user)
        assert ANOTHER in refused(cancel_for, ids=self.ids(shop), by=operator, reason="Erreur", to_card=True)
        cancel_for(ids=self.ids(shop), by=operator, reason="Erreur")
        assert shop.balance == 50 and not Booking.objects.booked().exists()

    @pytest.mark.parametrize("who", [payer, other_parent, by_another_child])
    def test_postgresql_refuses_it_too(self, shop: Shop, who: Callable[[Shop], User]) -> None:
        agent, rows = who(shop), Booking.objects.filter(pk=self.ids(shop)[0])
        self.too_late()
        sql("SET CONSTRAINTS ALL IMMEDIATE")

        def fault() -> None:
            rows.update(status="cancelled", ended_at=timezone.now(), ended_by=agent, ended_reason="x")

        guarded(
            "bookings.Booking:another_decides_late",
            fault,
            "past the deadline another person than its family",
            lambda: rows.filter(status="cancelled").exists(),
        )

    def test_a_closure_ends_everybodys_alike(self, shop: Shop) -> None:
        """Snow at six in the morning: whoever closes may have a child there."""
        agent = also_staff(shop.user, shop)
        self.too_late()
        apply_closure(closure=decided(shop, by=agent), by=agent)
        assert shop.balance == Decimal("42.10") and list(verify()) == []

    def test_one_among_others_stops_them_and_the_others_are_cancelled_without(self, shop: Shop) -> None:
        other = family(shop.tariff, credit="20", days=shop.days)
        other.add()
        other.pay(Means.WALLET, "15.80")
        agent = also_staff(shop.user, shop)
        self.too_late()
        data = {"by": agent, "reason": "Grève", "override": True}
        said = refused(cancel_for, ids=self.ids(shop) + self.ids(other), **data)
        assert str(shop.children[0]) in said and str(other.children[0]) not in said
        assert len(cancel_for(ids=self.ids(other), **data)) == 1 and other.balance == 20

    def test_in_time_it_is_what_the_family_could_do_itself(self, shop: Shop) -> None:
        cancel_for(ids=self.ids(shop), by=also_staff(shop.user, shop), reason="Erreur")
        assert shop.balance == 50

    def test_the_page_says_it_first(self, shop: Shop) -> None:
        client = client_of(also_staff(shop.user, shop))
        assert ANOTHER not in text(client.post(LIST, fields()))
        self.too_late()
        asked = text(client.post(LIST, fields()))
        assert ANOTHER in asked and "Laissez-les de côté" not in asked, "there are no others"
        done = text(client.post(LIST, fields(confirm="1", reason="Grève", override="on")))
        assert "Rien n’a été annulé ni remboursé." in done and Booking.objects.booked().count() == 2
        assert done.count(ANOTHER) == 1, "said twice"
        others = family(shop.tariff, days=shop.days, credit="50")
        others.add()
        others.pay(Means.WALLET, "15.80")
        mixed = fields() | {ACTION_CHECKBOX_NAME: [str(pk) for pk in Booking.objects.values_list("pk", flat=True)]}
        assert "Laissez-les de côté" in text(client.post(LIST, mixed))


class TestAbsences:
    @pytest.fixture
    def rule(self) -> AbsenceRule:
        rule: AbsenceRule = AbsenceRuleFactory(waiting=1)
        return rule

    @EVERYBODY
    def test_an_absence_is_justified_by_somebody_else(self, rule: AbsenceRule, who: Callable[[Shop], User]) -> None:
        shop = away(rule, days=2)
        absence = report(shop)
        agent, before = also_staff(who(shop), shop), shop.balance
        said = refused(justify_absence, absence=absence, by=agent)
        assert ANOTHER in said and str(absence) in said
        assert shop.balance == before and Absence.objects.get().status == "reported"
        refuse_absence(absence=absence, reason="Pas de certificat", by=agent)  # to one's own disadvantage
        colleague = also_staff(FiliationFactory().user, shop)
        assert justify_absence(absence=absence, by=colleague)[0].total == Decimal("7.90")

    @pytest.mark.parametrize(
        "how", ["answers for the child", "has reported it", "has booked", "has a child with who reported and booked"]
    )
    def test_postgresql_refuses_it_too(self, rule: AbsenceRule, how: str) -> None:
        shop = away(rule, days=2)
        second = other_parent(shop)
        booked = list(Booking.objects.filter(made_by=shop.user).values_list("pk", flat=True))
        reporter = shop.user if how not in ("has reported it", "has booked") else second
        (absence,) = report_absence(
            user=reporter, beneficiary=shop.children[0], ids=booked, kind="illness", by=reporter
        )
        if reporter == second:
            Filiation.objects.update(ended_at=timezone.now())
        agent = shop.user if how == "has booked" else second
        if how.startswith("has a child"):
            agent = by_another_child(shop)
        rows = Absence.objects.filter(pk=absence.pk)
        guarded(
            "bookings.Absence:nobody_justifies_their_own",
            lambda: rows.update(status="justified", decided_at=timezone.now(), decided_by=agent),
            "nobody justifies an absence of their own family",
            lambda: rows.filter(status="justified").exists(),
        )

    def test_the_page_says_it_instead_of_a_button(self, rule: AbsenceRule) -> None:
        shop = away(rule, days=2)
        absence = report(shop)
        address = url("bookings.absence", "change", absence.pk)
        page = text(client_of(also_staff(shop.user, shop)).get(address))
        assert ANOTHER in page and "Valider et rendre" not in page
        assert "Valider et rendre" in text(client_of(also_staff(FiliationFactory().user, shop)).get(address))


class TestCounter:
    @pytest.fixture
    def shop(self) -> Shop:
        shop = open_shop()
        TermsFactory(kind="sale")
        AddressFactory(user=shop.user)
        return shop

    def test_no_one_fills_their_own_wallet(self, shop: Shop) -> None:
        operator = also_operator(shop.user)
        data = {"user": shop.user, "paper": Paper(AtCounter.CASH, "Q-1"), "commune": None, "by": operator}
        said = refused(take_top_up, amount=Decimal(200), **data)
        assert ANOTHER in said and "Rien n’a été encaissé." in said
        assert shop.balance == 0 and not Order.objects.exists()

    @pytest.mark.parametrize("who", [other_parent, by_another_child])
    def test_nor_that_of_their_family(self, shop: Shop, who: Callable[[Shop], User]) -> None:
        shop.add()
        operator = also_operator(who(shop))
        data = {"user": shop.user, "paper": Paper(AtCounter.CASH, "Q-1"), "commune": None, "by": operator}
        said = refused(take_top_up, amount=Decimal(90), **data)
        assert f"votre propre famille : {ANOTHER}. Rien n’a été encaissé." in said.replace("\u00a0", " ")
        assert refused(take_payment, shown_total=Decimal("31.60"), **data) == said
        assert shop.balance == 0 and not Order.objects.exists()

    def test_no_one_has_their_own_cart_paid(self, shop: Shop) -> None:
        shop.add()
        operator = also_operator(shop.user)
        data = {"user": shop.user, "paper": Paper(AtCounter.CASH, "Q-1"), "commune": None, "by": operator}
        refused(take_payment, shown_total=Decimal("31.60"), **data)
        assert not Booking.objects.booked().exists() and not Order.objects.exists()

    @pytest.mark.parametrize("who", [payer, other_parent, by_another_child])
    def test_postgresql_refuses_it_too(self, shop: Shop, who: Callable[[Shop], User]) -> None:
        agent = who(shop)
        order = Order.objects.create(user=shop.user, kind="top_up", total=Decimal(5))
        payment = Payment.objects.create(
            order=order, provider="demo", amount=Decimal(5), status="credited", ended_at=timezone.now()
        )
        guarded(
            "checkout.CounterReceipt:nobody_takes_their_own_money",
            lambda: CounterReceipt.objects.create(payment=payment, number="Q-1", by=agent),
            "nobody takes money for their own account or family",
            CounterReceipt.objects.exists,
        )

    @pytest.mark.parametrize("who", [payer, other_parent])
    def test_the_page_says_it_and_shows_no_form(self, shop: Shop, who: Callable[[Shop], User]) -> None:
        shop.add()
        address = f"{url('checkout.counterreceipt', 'changelist')}encaisser/?usager={shop.user.pk}"
        client = client_of(also_operator(who(shop)))
        page = client.get(address)
        assert ANOTHER in text(page) and 'name="number"' not in page.content.decode()
        sent = {"what": "top_up", "amount": "5,00", "means": "cash", "number": "Q-1"}
        assert ANOTHER in text(client.post(address, sent)) and not CounterReceipt.objects.exists()
