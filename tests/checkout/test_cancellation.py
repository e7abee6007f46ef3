"""Cancelling before the deadline: all or none, the money in the wallet of the person who paid."""

import datetime as dt
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.models import User
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings, cancel_for
from checkout.actions.closures import apply_closure
from checkout.models import OrderLine
from checkout.verification import verify
from portal.common.errors import Refused
from portal.common.formats import day, enumeration, long_date
from portal.outbox.models import Email
from services.models import Activity, OpenDay
from tests.checkout.test_closures import decided, paid_shop
from tests.factories import CommuneFactory, FiliationFactory, OpenDayFactory, TariffFactory, agent_of
from tests.shop import Shop, family, open_shop
from wallet.actions import revenue_code
from wallet.models import Account, Movement

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Shop:
    shop = open_shop(days=4, credit="50")
    shop.add()
    shop.pay(Means.WALLET, "31.60")
    return shop


def ids(shop: Shop) -> list[int]:
    return list(Booking.objects.filter(made_by=shop.user).order_by("period").values_list("pk", flat=True))


def test_the_price_comes_back_to_the_wallet(shop: Shop) -> None:
    assert cancel_bookings(ids=ids(shop)[:2], by=shop.user).to_wallet == Decimal("15.80")
    assert shop.balance == Decimal("34.20")
    assert [shop.fresh(index).taken for index in range(4)] == [0, 0, 1, 1]
    assert OrderLine.objects.filter(cancelled_at__isnull=False, refund__isnull=False).count() == 2
    assert "15,80" in Email.objects.get(key__startswith="cancellation:").body
    assert list(verify()) == []


def test_twice_is_once(shop: Shop) -> None:
    cancel_bookings(ids=ids(shop)[:1], by=shop.user)
    with pytest.raises(Refused) as refusal:
        cancel_bookings(ids=ids(shop)[:1], by=shop.user)
    assert refusal.value.code == "not_booked" and shop.balance == Decimal("26.30")


@pytest.mark.parametrize("others, says", [(1, "et Piscine, "), (2, "et 2 autres activités, ")])
def test_its_movement_names_of_which_activities_in_one_parenthesis(shop: Shop, others: int, says: str) -> None:
    for number in range(others):
        tariff = TariffFactory(
            slot__activity__service=shop.activity.service,
            slot__activity__name=("Piscine", "Danse")[number],
            profile=shop.tariff.profile,
        )
        day = OpenDayFactory(activity=tariff.slot.activity, date=shop.days[-1].date + dt.timedelta(days=1 + number))
        other = Shop(tariff, shop.user, shop.children, shop.subscription, [day])
        other.add()
        other.pay(Means.WALLET, tariff.price)
    cancel_bookings(ids=ids(shop), by=shop.user)
    label = Movement.objects.latest("pk").label
    when = f"{long_date(shop.days[0].date)} et {3 + others} autres dates"
    assert label == f"Annulation\u00a0: {shop.activity} {says}{when} ({shop.children[0].first_name})"


def test_past_the_deadline_nothing_is_cancelled(shop: Shop) -> None:
    OpenDay.objects.filter(pk=shop.days[0].pk).update(cancel_until=timezone.now() - dt.timedelta(seconds=1))
    with pytest.raises(Refused, match="Trop tard pour annuler"):
        cancel_bookings(ids=ids(shop)[:2], by=shop.user)
    assert Booking.objects.booked().count() == 4


def test_only_the_person_who_booked_cancels(shop: Shop) -> None:
    other_parent = FiliationFactory(beneficiary=shop.children[0]).user
    with pytest.raises(Refused):
        cancel_bookings(ids=ids(shop), by=other_parent)


def test_a_cancelled_place_can_be_booked_again(shop: Shop) -> None:
    cancel_bookings(ids=ids(shop)[:1], by=shop.user)
    assert shop.add(days=shop.days[:1]).quantity == 1


class TestByStaff:
    """A closure, or a mistake at the counter: whoever paid is paid back, whatever the deadline."""

    @pytest.fixture
    def other(self, shop: Shop) -> Shop:
        other = family(shop.tariff, credit="20", days=shop.days)
        other.add(days=shop.days[:2])
        other.pay(Means.WALLET, "15.80")
        return other

    def agent(self, shop: Shop) -> User:
        commune = shop.activity.service.commune
        assert commune is not None
        return agent_of(commune)

    def test_each_family_gets_back_what_it_paid_and_reads_why(self, shop: Shop, other: Shop) -> None:
        OpenDay.objects.update(cancel_until=timezone.now() - dt.timedelta(days=1))
        agent = self.agent(shop)
        both_days = Booking.objects.filter(open_day__in=shop.days[:2])
        found = cancel_for(ids=list(both_days.values_list("pk", flat=True)), by=agent, reason=" Grève  ", override=True)
        assert {row.payer: row.total for row in found} == {shop.user: Decimal("15.80"), other.user: Decimal("15.80")}
        assert (shop.balance, other.balance) == (Decimal("34.20"), Decimal("20.00"))
        assert [shop.fresh(index).taken for index in range(4)] == [0, 0, 1, 1]
        ended = Booking.objects.filter(status="cancelled")
        assert set(ended.values_list("ended_by", "ended_reason")) == {(agent.pk, "Grève")}
        mails = Email.objects.filter(key__startswith="cancellation:")
        assert {row.to for row in mails} == {shop.user.email, other.user.email}
        assert all("Grève" in row.body and "15,80" in row.body for row in mails)
        revenue = Account.objects.get(code=revenue_code(shop.activity.service.commune))
        assert revenue.balance() == Decimal("15.80") and list(verify()) == []

    def test_a_second_time_pays_nothing(self, shop: Shop) -> None:
        agent = self.agent(shop)
        cancel_for(ids=ids(shop), by=agent, reason="Grève")
        assert cancel_for(ids=ids(shop), by=agent, reason="Grève") == []
        assert shop.balance == 50 and Movement.objects.filter(kind="cancellation").count() == 1

    def test_what_the_family_cancelled_meanwhile_is_left_alone(self, shop: Shop) -> None:
        cancel_bookings(ids=ids(shop)[:1], by=shop.user)
        cancel_for(ids=ids(shop), by=self.agent(shop), reason="Grève")
        assert shop.balance == 50 and list(verify()) == []

    def test_not_past_the_deadline_without_saying_so(self, shop: Shop) -> None:
        """A wrong tick pays nothing back for a service that was given."""
        OpenDay.objects.filter(pk=shop.days[0].pk).update(cancel_until=timezone.now() - dt.timedelta(minutes=1))
        with pytest.raises(Refused) as refusal:
            cancel_for(ids=ids(shop), by=self.agent(shop), reason="Grève")
        assert refusal.value.code == "too_late" and "Rien n’a été annulé ni remboursé." in refusal.value.messages
        assert (
            str(shop.children[0]) in refusal.value.messages[0] and day(shop.days[0].date) in refusal.value.messages[0]
        )
        assert Booking.objects.filter(made_by=shop.user).booked().count() == 4
        assert len(cancel_for(ids=ids(shop), by=self.agent(shop), reason="Grève", override=True)) == 1

    def test_not_without_a_reason(self, shop: Shop) -> None:
        with pytest.raises(Refused) as refusal:
            cancel_for(ids=ids(shop), by=self.agent(shop), reason="  ")
        assert refusal.value.code == "reason_missing" and Booking.objects.booked().count() == 4

    def test_not_in_another_commune(self, shop: Shop) -> None:
        with pytest.raises(Refused) as refusal:
            cancel_for(ids=ids(shop), by=agent_of(CommuneFactory()), reason="Grève")
        assert refusal.value.code == "out_of_scope" and shop.balance == Decimal("18.40")


def test_a_long_reason_leaves_room_for_whose_dates_came_back() -> None:
    shop = paid_shop()
    Activity.objects.filter(pk=shop.activity.pk).update(name="Inscription Accueil Périscolaire (mercredis)")
    reason = "Grève du personnel communal, service minimum non assuré, sorties et transports scolaires compris"
    apply_closure(
        closure=decided(shop, reason=reason, last_day=shop.days[1].date), by=agent_of(shop.activity.service.commune)
    )
    label = Movement.objects.latest("pk").label
    names = enumeration(child.first_name for child in shop.children)
    assert label.endswith(f", {long_date(shop.days[0].date)} et 1 autre date ({names})") and len(label) <= 160
    assert label.startswith("Fermeture\u00a0: Grève du personnel") and " … " in label
