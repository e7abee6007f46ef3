"""« Rien de réservé pour la semaine prochaine » : who is written to, when, once, and how it is stopped."""

import datetime as dt

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from psycopg.types.range import TimestamptzRange

from accounts.models import User
from accounts.reminders import account_of, reminders_key
from bookings.models import Booking, Hold
from bookings.reminders import remind
from bookings.waiting.models import WaitingListEntry
from families.models import Filiation
from portal.common.formats import PARIS, today
from portal.outbox.models import Email
from services.models import Activity, OpenDay, Subscription
from tests.checkout.http import text
from tests.factories import FiliationFactory, OpenDayFactory, SubscriptionFactory, UserFactory
from tests.shop import Shop, family, open_shop

pytestmark = pytest.mark.django_db

MONDAY = today() + dt.timedelta(days=7 - today().weekday())
# « jeudi 12 h » of the week before; the test's moment is the day before that.
LIMIT = dt.datetime.combine(MONDAY - dt.timedelta(days=4), dt.time(12), tzinfo=PARIS)
NOW = LIMIT - dt.timedelta(hours=24)


def usual(shop: Shop, *, ago: int = 14) -> Shop:
    """The shop's children came to the activity `ago` days before next Monday."""
    date = MONDAY - dt.timedelta(days=ago)
    day = OpenDay.objects.filter(activity=shop.activity, date=date).first() or OpenDayFactory(
        activity=shop.activity, date=date, capacity=99
    )
    for child in shop.children:
        hours = (dt.datetime.combine(date, time, tzinfo=PARIS) for time in (shop.slot.starts_at, shop.slot.ends_at))
        Booking.objects.create(
            beneficiary=child,
            open_day=day,
            slot=shop.slot,
            hold=Hold.objects.create(user=shop.user, expires_at=timezone.now()),
            made_by=shop.user,
            period=TimestamptzRange(*hours),
            status=Booking.Status.BOOKED,
            booked_at=timezone.now(),
        )
    return shop


@pytest.fixture
def shop() -> Shop:
    """A family whose child comes each week, and next week's Tuesday to be booked until Thursday noon."""
    found = usual(open_shop(days=0))
    found.days = [OpenDayFactory(activity=found.activity, date=MONDAY + dt.timedelta(days=1), book_until=LIMIT)]
    return found


def told() -> list[str]:
    return list(Email.objects.filter(subject__startswith="Rien de réservé").order_by("pk").values_list("to", flat=True))


def test_a_family_is_told_before_the_limit_what_is_not_booked(shop: Shop) -> None:
    assert remind(at=NOW) == 1
    (letter,) = Email.objects.filter(to=shop.user.email)
    assert letter.subject.startswith(f"Rien de réservé pour la semaine prochaine : {shop.activity}, limite jeudi ")
    assert shop.children[0].first_name in letter.body
    assert letter.subject.endswith("à 12 h")
    assert str(shop.activity) in letter.body and shop.activity.get_absolute_url() in letter.body
    assert reminders_key(shop.user) in letter.body


def test_a_sibling_who_usually_comes_is_missed_though_the_other_is_booked(shop: Shop) -> None:
    """What is said is true of this activity and these children, whatever else the family has booked that week."""
    sibling = FiliationFactory(user=shop.user, beneficiary__first_name="Zoé").beneficiary
    usual(Shop(shop.tariff, shop.user, [sibling], shop.subscription), ago=13)
    OpenDay.objects.filter(pk=shop.days[0].pk).update(book_until=timezone.now() + dt.timedelta(days=1))
    shop.add()
    OpenDay.objects.filter(pk=shop.days[0].pk).update(book_until=LIMIT)
    assert remind(at=NOW) == 1
    body = Email.objects.get(to=shop.user.email).body
    assert "Zoé" in body and f": {shop.children[0].first_name}" not in body


def test_once_a_week_however_often_it_runs(shop: Shop) -> None:
    assert [remind(at=NOW), remind(at=NOW + dt.timedelta(hours=1))] == [1, 0]
    assert told() == [shop.user.email]


@pytest.mark.parametrize("hours", [-1, 49, 100])
def test_neither_long_before_nor_after(shop: Shop, hours: int) -> None:
    assert remind(at=LIMIT - dt.timedelta(hours=hours)) == 0


def test_one_letter_names_all_that_is_not_booked(shop: Shop) -> None:
    other = open_shop(days=0)
    Subscription.objects.filter(pk=other.subscription.pk).update(user=shop.user)
    usual(Shop(other.tariff, shop.user, shop.children, other.subscription), ago=13)
    later = LIMIT + dt.timedelta(days=3)
    OpenDayFactory(activity=other.activity, date=MONDAY + dt.timedelta(days=2), book_until=later)
    assert remind(at=NOW) == 1
    body = Email.objects.get(to=shop.user.email).body
    assert body.index(str(shop.activity)) < body.index(str(other.activity))


@pytest.mark.parametrize(
    "case",
    [
        "booked",
        "in the cart",
        "waiting",
        "said no",
        "refused access",
        "never came",
        "came long ago",
        "filiation ended",
        "closed",
        "account refused",
        "activity closed",
    ],
)
def test_who_is_left_in_peace(shop: Shop, case: str) -> None:
    match case:
        case "booked" | "in the cart":
            OpenDay.objects.filter(pk=shop.days[0].pk).update(book_until=timezone.now() + dt.timedelta(days=1))
            shop.add()
            if case == "booked":
                Booking.objects.held().update(status="booked", booked_at=timezone.now())
            OpenDay.objects.filter(pk=shop.days[0].pk).update(book_until=LIMIT)
        case "waiting":
            WaitingListEntry.objects.create(
                user=shop.user,
                beneficiary=shop.children[0],
                open_day=shop.days[0],
                slot=shop.slot,
                profile=shop.tariff.profile,
                rank=1,
            )
        case "said no":
            User.objects.filter(pk=shop.user.pk).update(reminders=False)
        case "refused access":
            Subscription.objects.update(status="refused", reason="Parti")
        case "never came":
            Booking.objects.update(status="cancelled", ended_at=timezone.now())
        case "came long ago":
            usual(family(shop.tariff), ago=80)
            Booking.objects.filter(made_by=shop.user).update(status="cancelled", ended_at=timezone.now())
        case "filiation ended":
            Filiation.objects.update(ended_at=timezone.now())
        case "closed":
            OpenDay.objects.filter(pk=shop.days[0].pk).update(is_open=False, closed_reason="Grève")
        case "account refused":
            by = UserFactory(is_staff=True)
            User.objects.filter(pk=shop.user.pk).update(status="refused", decision_reason="x", decided_by=by)
        case "activity closed":
            Activity.objects.update(is_active=False)
    assert remind(at=NOW) == 0 and told() == []


def test_both_parents_with_an_access_are_told_and_both_are_spared(shop: Shop) -> None:
    other = FiliationFactory(beneficiary=shop.children[0]).user
    stranger = FiliationFactory(beneficiary=shop.children[0]).user
    SubscriptionFactory(user=other, profile=shop.tariff.profile)
    assert remind(at=NOW) == 2
    assert set(told()) == {shop.user.email, other.email} and stranger.email not in told()


def test_a_batch_costs_the_same_whatever_it_holds(shop: Shop) -> None:
    def cost() -> int:
        """Statements, without the one that each letter is written with."""
        with CaptureQueriesContext(connection) as queries:
            letters = remind(at=NOW)
        return len([row for row in queries.captured_queries if "SAVEPOINT" not in row["sql"]]) - letters

    one = cost()
    Email.objects.all()._raw_delete("default")
    for _family in range(12):
        usual(family(shop.tariff, children=2))
    assert cost() == one <= 10 and len(told()) == 13


def test_without_anything_due_it_is_one_statement() -> None:
    with CaptureQueriesContext(connection) as queries:
        assert remind(at=NOW) == 0
    assert len(queries) == 1


class TestSayingNo:
    def test_the_link_of_the_letter_asks_then_stops(self) -> None:
        user, other = UserFactory(), UserFactory()
        address = f"/rappels/{reminders_key(user)}/"
        client = Client()
        assert "Ne plus recevoir les rappels ?" in text(client.get(address)).replace("\u00a0", " ")
        user.refresh_from_db()
        assert user.reminders
        for _twice in range(2):
            assert "Vous ne recevez plus de rappels" in text(client.post(address, follow=True))
        user.refresh_from_db()
        other.refresh_from_db()
        assert not user.reminders and other.reminders

    @pytest.mark.parametrize("key", ["1", "1.abc", "x.y", "9999999999999999999999.abc", "é"])
    def test_a_forged_key_opens_nothing(self, key: str) -> None:
        UserFactory()
        assert account_of(key) is None
        for ask in (Client().get, Client().post):
            assert ask(f"/rappels/{key}/").status_code == 404

    def test_they_are_taken_up_again_in_the_personal_details(self) -> None:
        user = UserFactory(reminders=False)
        client = Client()
        client.force_login(user)
        address = "/mon-compte/informations/"
        assert client.get(address).context["form"]["reminders"].value() is False
        answers = {"first_name": "Camille", "last_name": "Dupont", "phone": "06 12 34 56 78", "commune": "hors"}
        for ticked, wanted in (({"reminders": "on"}, True), ({}, False)):
            assert client.post(address, answers | ticked).status_code == 302
            user.refresh_from_db()
            assert user.reminders is wanted
