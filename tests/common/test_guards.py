"""What anybody with a psql prompt could do, and PostgreSQL refuses: each fault is shown first, with its guard off.

Deferred constraints speak at the commit; `SET CONSTRAINTS ALL IMMEDIATE` lets them speak inside the test's transaction.
"""

import datetime as dt
from decimal import Decimal
from typing import Any

import pghistory.models
import pgtrigger
import pytest
from django.apps import apps
from django.db import Error, transaction
from django.db.models import Model
from django.utils import timezone
from psycopg.types.range import TimestamptzRange

from accounts.models import Terms, User
from bookings.models import Booking, Hold
from checkout.models import Cart, Order, OrderLine, Payment, ProviderEvent
from checkout.verification import verify
from portal.common.formats import PARIS
from portal.outbox.models import Email
from services.models import OpenDay
from tests.factories import (
    ActivityFactory,
    BeneficiaryFactory,
    OpenDayFactory,
    SlotFactory,
    TermsFactory,
    UserFactory,
    agent_of,
)
from tests.guards import bought, guarded, sql, undone
from tests.shop import Shop, open_shop
from wallet.models import Entry

pytestmark = pytest.mark.django_db


class TestTruncate:
    @pytest.mark.parametrize(
        "table, emptied",
        [
            ("wallet_movement", [Entry, OrderLine]),
            ("wallet_account", [Entry]),
            ("bookings_booking", [OrderLine]),
            ("checkout_order", [OrderLine]),
            ("accounts_terms", [OrderLine]),
            ("accounts_user", [Entry, OrderLine]),
        ],
    )
    def test_not_by_a_cascade_either(self, table: str, emptied: list[type[Model]]) -> None:
        bought()
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        with undone(), pgtrigger.ignore():
            sql(f"TRUNCATE {table} CASCADE")
            assert not any(model._base_manager.exists() for model in emptied)
        with pytest.raises(Error, match="is never emptied"), transaction.atomic():
            sql(f"TRUNCATE {table} CASCADE")
        assert Entry.objects.exists() and OrderLine.objects.exists()


class TestBooking:
    @pytest.mark.parametrize("field", ["beneficiary", "open_day", "slot", "period", "may_overlap", "made_by", "hold"])
    def test_who_and_when_stay(self, field: str) -> None:
        shop = open_shop(days=1)
        shop.add()
        row = Booking.objects.get()
        value: object = {
            "beneficiary": BeneficiaryFactory,
            "open_day": OpenDayFactory,
            "slot": SlotFactory,
            "period": lambda: TimestamptzRange(timezone.now(), timezone.now() + dt.timedelta(hours=1)),
            "may_overlap": lambda: True,
            "made_by": UserFactory,
            "hold": lambda: type(row.hold).objects.create(user=shop.user, expires_at=timezone.now()),
        }[field]()
        guarded(
            "bookings.Booking:booking_is_frozen",
            lambda: Booking.objects.update(**{field: value}),
            "Cannot update",
            lambda: Booking.objects.filter(**{field: value}).exists(),
        )

    @pytest.mark.parametrize("period", ["empty", "(,)", "[2026-09-01,)", "(,2026-09-01]"])
    def test_a_period_has_two_ends_and_something_between(self, period: str) -> None:
        """Off, the exclusion constraint does not see the row, or sees it everywhere."""
        open_shop(days=1).add()
        sql("SET CONSTRAINTS ALL IMMEDIATE")  # ALTER TABLE waits for no pending trigger
        with pgtrigger.ignore("bookings.Booking:booking_is_frozen"):
            with undone():
                sql("ALTER TABLE bookings_booking DROP CONSTRAINT booking_has_its_hours")
                sql("UPDATE bookings_booking SET period = %s::tstzrange", period)
            with pytest.raises(Error, match="booking_has_its_hours"), transaction.atomic():
                sql("UPDATE bookings_booking SET period = %s::tstzrange", period)

    def wrong(self, shop: Shop, case: str) -> Booking:
        row = Booking.objects.select_related("open_day").get()
        row.pk = None
        row.beneficiary = BeneficiaryFactory()
        if case == "day":
            row.open_day = OpenDayFactory(activity=shop.activity, date=shop.days[0].date + dt.timedelta(days=1))
        if case == "night":
            row.period = TimestamptzRange(row.period.lower, row.period.upper + dt.timedelta(days=1))
        if case == "slot":
            row.slot = SlotFactory()
        if case == "overlap":
            row.may_overlap = True
        return row

    @pytest.mark.parametrize("case", ["day", "night", "slot", "overlap"])
    def test_a_booking_fits_its_day(self, case: str) -> None:
        shop = open_shop(days=1)
        shop.add()
        row = self.wrong(shop, case)
        guarded(
            "bookings.Booking:booking_fits_its_day",
            lambda: Booking.objects.bulk_create([row]),
            "has the date, the activity and the overlap",
            lambda: Booking.objects.count() == 2,
        )

    def test_the_days_on_which_clocks_change_fit(self) -> None:
        for date in (dt.date(2027, 3, 28), dt.date(2027, 10, 31)):
            activity = ActivityFactory(weekdays=[6])
            shop = open_shop(days=0)
            slot = SlotFactory(activity=activity, starts_at=dt.time(0), ends_at=dt.time(23, 59))
            hours = (dt.datetime.combine(date, time, tzinfo=PARIS) for time in (slot.starts_at, slot.ends_at))
            Booking.objects.create(
                beneficiary=shop.children[0],
                open_day=OpenDayFactory(activity=activity, date=date),
                slot=slot,
                hold=Hold.objects.create(user=shop.user, expires_at=timezone.now()),
                made_by=shop.user,
                period=TimestamptzRange(*hours),
            )
        assert Booking.objects.count() == 2

    @pytest.mark.parametrize("start, end", [("booked", "held"), ("cancelled", "booked"), ("held", "cancelled")])
    def test_a_status_moves_only_along_declared_transitions(self, start: str, end: str) -> None:
        open_shop(days=1).add()
        now = timezone.now()
        if start != "held":
            Booking.objects.update(status="booked", booked_at=now)
        if start == "cancelled":
            Booking.objects.update(status="cancelled", ended_at=now)
        guarded(
            "bookings.Booking:booking_transitions",
            lambda: Booking.objects.update(
                status=end,
                ended_at=now if end == "cancelled" else None,
                booked_at=None if end == "held" else now,
            ),
            "Invalid transition",
            lambda: Booking.objects.filter(status=end).exists(),
        )


class TestOpenDay:
    def test_taken_is_counted(self) -> None:
        shop = open_shop(days=1)
        guarded(
            "services.OpenDay:taken_is_counted",
            lambda: OpenDay.objects.update(taken=3),
            "counted from the bookings",
            lambda: shop.fresh().taken == 3 and any("3 places comptées" in line for line in verify()),
        )

    def test_a_day_starts_empty(self) -> None:
        activity = ActivityFactory()
        guarded(
            "services.OpenDay:day_starts_empty",
            lambda: OpenDayFactory(activity=activity, taken=9),
            "a day starts empty",
            lambda: OpenDay.objects.filter(taken=9).exists(),
        )

    def test_a_day_stays_its_day(self) -> None:
        shop = open_shop(days=1)
        shop.add()
        date = shop.days[0].date + dt.timedelta(days=1)
        guarded(
            "services.OpenDay:day_is_frozen",
            lambda: OpenDay.objects.update(date=date),
            "Cannot update",
            lambda: OpenDay.objects.filter(date=date).exists(),
        )


class TestCheckout:
    def test_a_paid_order_has_its_payments(self) -> None:
        user = UserFactory()

        def pay_nothing() -> None:
            Order.objects.create(user=user, total=Decimal(5), status="paid", paid_at=timezone.now())
            sql("SET CONSTRAINTS ALL IMMEDIATE")

        guarded(
            "checkout.Order:paid_order_has_its_payments",
            pay_nothing,
            "its captured payments are not its total",
            lambda: Order.objects.filter(status="paid").exists(),
        )

    def test_neither_does_an_order_become_paid_without(self) -> None:
        order = Order.objects.create(user=UserFactory(), total=Decimal(5))
        Payment.objects.create(order=order, provider="demo", amount=Decimal(5), status=Payment.Status.STARTED)

        def pay_nothing() -> None:
            Order.objects.update(status="paid", paid_at=timezone.now())
            sql("SET CONSTRAINTS ALL IMMEDIATE")

        guarded(
            "checkout.Order:paid_order_has_its_payments",
            pay_nothing,
            "its captured payments are not its total",
            lambda: Order.objects.filter(status="paid").exists(),
        )

    @pytest.mark.parametrize("paid", [False, True], ids=["pending", "paid"])
    def test_a_captured_payment_pays_its_order(self, paid: bool) -> None:
        """Money taken for an order that stays unpaid, or taken once too often."""
        shop = bought()
        order = Order.objects.get() if paid else Order.objects.create(user=shop.user, total=Decimal(5))
        before = Payment.objects.count()
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        sql("SET CONSTRAINTS ALL DEFERRED")

        def capture() -> None:
            now = timezone.now()
            Payment.objects.create(
                order=order, provider="demo", amount=Decimal(5 + paid), status="captured", ended_at=now
            )
            sql("SET CONSTRAINTS ALL IMMEDIATE")

        guarded(
            "checkout.Payment:captured_payment_pays_its_order",
            capture,
            "is captured, and its order is not paid by it",
            lambda: Payment.objects.count() > before and any("encaissé" in line for line in verify()),
        )

    def test_what_was_ordered_is_not_opened_again(self) -> None:
        bought()
        guarded(
            "checkout.Cart:cart_transitions",
            lambda: Cart.objects.update(status=Cart.Status.OPEN),
            "Invalid transition",
            lambda: Cart.objects.filter(status=Cart.Status.OPEN).exists(),
        )

    def test_a_cart_stays_its_owners(self) -> None:
        open_shop().add()
        other = UserFactory()
        guarded(
            "checkout.Cart:cart_is_frozen",
            lambda: Cart.objects.update(user=other),
            "Cannot update",
            lambda: Cart.objects.filter(user=other).exists(),
        )

    @pytest.mark.parametrize("start, end", [("paid", "pending"), ("paid", "cancelled"), ("cancelled", "paid")])
    def test_an_order_moves_only_along_declared_transitions(self, start: str, end: str) -> None:
        now = timezone.now()
        bought()
        sql("SET CONSTRAINTS ALL IMMEDIATE")  # as committed: what follows is another transaction's doing
        sql("SET CONSTRAINTS ALL DEFERRED")
        if start == "cancelled":
            with pgtrigger.ignore("checkout.Order:order_transitions"):
                Order.objects.update(status="cancelled", paid_at=None, cancelled_at=now)
        guarded(
            "checkout.Order:order_transitions",
            lambda: Order.objects.update(
                status=end, paid_at=now if end == "paid" else None, cancelled_at=now if end == "cancelled" else None
            ),
            "Invalid transition",
            lambda: Order.objects.filter(status=end).exists(),
        )

    @pytest.mark.parametrize(
        "guard, change",
        [
            ("checkout.Order:order_is_frozen", {"total": Decimal("1.00")}),
            ("checkout.Order:order_is_frozen", {"kind": "top_up"}),
            ("checkout.Order:order_is_frozen", {"terms": None}),
            ("checkout.Order:order_is_frozen", {"billing_address": "Ailleurs"}),
            ("checkout.Order:order_is_frozen", {"cart": None}),
            ("checkout.OrderLine:line_is_frozen", {"unit_price": Decimal("0.01")}),
            ("checkout.Payment:payment_is_frozen", {"amount": Decimal("0.01")}),
            ("checkout.ProviderEvent:event_is_kept_raw", {"raw": "autre"}),
        ],
    )
    def test_what_is_frozen_stays(self, guard: str, change: dict[str, object]) -> None:
        bought()
        ProviderEvent.objects.create(provider="demo", source="test", raw="x")
        rows: Any = apps.get_model(guard.partition(":")[0])._default_manager
        guarded(guard, lambda: rows.update(**change), "Cannot update", lambda: rows.filter(**change).exists())

    @pytest.mark.parametrize(
        "guard",
        [
            "checkout.Order:orders_are_kept",
            "checkout.OrderLine:lines_are_kept",
            "checkout.Payment:payments_are_kept",
            "checkout.ProviderEvent:events_are_kept",
        ],
    )
    def test_what_is_kept_is_not_deleted(self, guard: str) -> None:
        bought()
        ProviderEvent.objects.create(provider="demo", source="test", raw="x")
        rows: Any = apps.get_model(guard.partition(":")[0])._default_manager
        guarded(guard, lambda: rows.all()._raw_delete("default"), "Cannot delete", lambda: not rows.exists())


class TestTerms:
    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "use"},
            {"version": "2"},
            {"body": "Autre"},
            {"published_at": dt.datetime(2030, 1, 1, tzinfo=dt.UTC)},
        ],
    )
    def test_a_published_text_is_frozen(self, change: dict[str, object]) -> None:
        TermsFactory()
        guarded(
            "accounts.Terms:published_text_is_frozen",
            lambda: Terms.objects.update(**change),
            "this version is published; publish a new one",
            lambda: Terms.objects.filter(**change).exists(),
        )

    def test_a_published_text_is_kept(self) -> None:
        TermsFactory()
        guarded(
            "accounts.Terms:published_text_is_frozen",
            lambda: Terms.objects.all()._raw_delete("default"),
            "this version is published; publish a new one",
            lambda: not Terms.objects.exists(),
        )

    def test_a_text_to_come_is_still_written(self) -> None:
        draft = TermsFactory(published_at=timezone.now() + dt.timedelta(days=1))
        Terms.objects.update(body="Corrigé", published_at=timezone.now() + dt.timedelta(days=2))
        draft.delete()
        assert not Terms.objects.exists()


class TestAccounts:
    @pytest.mark.parametrize("status, reason", [("approved", ""), ("refused", "Illisible")])
    def test_a_decision_is_signed(self, status: str, reason: str) -> None:
        user = UserFactory(pending=True)
        guarded(
            "accounts.User:user_decision_is_signed",
            lambda: User.objects.filter(pk=user.pk).update(
                status=status, decided_at=timezone.now(), decision_reason=reason
            ),
            "a decision names who took it",
            lambda: User.objects.filter(pk=user.pk, status=status).exists(),
        )

    def test_a_signature_is_not_taken_away(self) -> None:
        agent = agent_of()
        user = UserFactory(decided_by=agent)
        guarded(
            "accounts.User:user_decision_is_signed",
            lambda: User.objects.filter(pk=user.pk).update(decided_by=None),
            "a decision names who took it",
            lambda: User.objects.filter(pk=user.pk, decided_by=None).exists(),
        )

    def test_a_superuser_is_decided_by_nobody(self) -> None:
        assert User.objects.create_superuser("admin@exemple.fr", "x").decided_by is None


def histories() -> list[Any]:
    return [model for model in apps.get_models() if issubclass(model, pghistory.models.Event)]


class TestHistory:
    @pytest.mark.parametrize("model", histories(), ids=lambda model: model.__name__)
    def test_a_history_is_append_only(self, model: Any) -> None:
        """Each table of what happened, those of models to come too."""
        triggers = {trigger.name: trigger for trigger in model._meta.triggers}
        assert "append_only" in triggers, f"{model.__name__}: track(append_only=True)"

    def test_what_happened_is_not_rewritten(self) -> None:
        UserFactory()
        model: Any = apps.get_model("accounts.UserEvent")
        events = model.objects
        guarded(
            "accounts.UserEvent:append_only",
            lambda: events.update(status="refused"),
            "Cannot update or delete",
            lambda: events.filter(status="refused").exists(),
        )
        guarded(
            "accounts.UserEvent:append_only",
            lambda: events.all()._raw_delete("default"),
            "Cannot update or delete",
            lambda: not events.exists(),
        )


class TestOutbox:
    def sent(self) -> None:
        Email.objects.create(key="k", to="a@exemple.fr", subject="x", body="x", status="sent", sent_at=timezone.now())

    @pytest.mark.parametrize("status", ["waiting", "dead"])
    def test_what_was_sent_is_not_sent_again(self, status: str) -> None:
        self.sent()
        guarded(
            "outbox.Email:email_transitions",
            lambda: Email.objects.update(status=status, sent_at=None),
            "Invalid transition",
            lambda: Email.objects.filter(status=status).exists(),
        )

    @pytest.mark.parametrize("change", [{"key": "autre"}, {"to": "b@exemple.fr"}])
    def test_to_whom_and_under_which_key_stays(self, change: dict[str, object]) -> None:
        self.sent()
        guarded(
            "outbox.Email:email_is_frozen",
            lambda: Email.objects.update(**change),
            "Cannot update",
            lambda: Email.objects.filter(**change).exists(),
        )
