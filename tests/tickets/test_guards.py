"""What anybody with a psql prompt could do to tickets, and PostgreSQL refuses: each fault first, with its guard off."""

import datetime as dt
import uuid
from typing import Any

import pgtrigger
import pytest
from django.db import Error, transaction
from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils import timezone

from bookings.models import Hold
from bookings.tickets.models import Controller, Ticket, TicketUse, TicketUseReview, new_code
from checkout.models import CartLine, OrderLine
from portal.common.formats import today
from services.models import Activity, OpenDay, Slot
from tests.factories import (
    ActivityFactory,
    BeneficiaryFactory,
    BusStopFactory,
    EntriesFactory,
    OpenDayFactory,
    PassActivityFactory,
    PassFactory,
    SlotFactory,
    UserFactory,
)
from tests.guards import guarded, sql, undone
from tests.tickets.kiosk import bikes, buy, controller, kiosk, scan, take

pytestmark = pytest.mark.django_db
A_MONTH = dt.timedelta(days=30)


def copy(ticket: Ticket, **changes: Any) -> Ticket:
    """Another row like it, as it would be written past every action."""
    row = Ticket.objects.get(pk=ticket.pk)
    row.pk, row.code, row.used = None, new_code(), 0
    for name, value in changes.items():
        setattr(row, name, value)
    row.save(force_insert=True)
    return row


class TestEntries:
    def test_no_more_are_used_than_were_bought(self) -> None:
        ticket = buy(kiosk())
        agent = controller(ticket)
        scan(ticket, agent)

        def use() -> None:
            TicketUse.objects.create(client_id=uuid.uuid4(), ticket=ticket, at=timezone.now(), by=agent)

        sql("SET CONSTRAINTS ALL IMMEDIATE")
        with undone():
            sql("ALTER TABLE bookings_ticket DROP CONSTRAINT entries_are_not_overused")
            use()
            assert Ticket.objects.get().used == 2
        with pytest.raises(Error, match="entries_are_not_overused"), transaction.atomic():
            use()

    def test_they_are_counted_by_postgresql_alone(self) -> None:
        buy(kiosk(EntriesFactory(entries=10)))
        guarded(
            "bookings.Ticket:used_is_counted",
            lambda: Ticket.objects.update(used=3),
            "counted from the uses",
            lambda: Ticket.objects.get().used == 3,
        )

    def test_a_ticket_starts_unused(self) -> None:
        ticket = buy(kiosk(EntriesFactory(entries=10)))
        guarded(
            "bookings.Ticket:ticket_starts_unused",
            lambda: copy(ticket, used=4),
            "starts unused",
            lambda: Ticket.objects.filter(used=4).exists(),
        )

    @pytest.mark.parametrize("act", ["delete", "update"])
    def test_a_use_stays_as_it_was_written(self, act: str) -> None:
        ticket = buy(kiosk())
        scan(ticket, controller(ticket))
        guarded(
            "bookings.TicketUse:uses_are_kept",
            lambda: (
                TicketUse.objects.all().delete()
                if act == "delete"
                else TicketUse.objects.update(at=timezone.now() - A_MONTH)
            ),
            "Cannot",
            lambda: not TicketUse.objects.filter(at__gt=timezone.now() - A_MONTH).exists(),
        )

    def test_nothing_is_flagged_online(self) -> None:
        ticket = buy(kiosk())
        with pytest.raises(Error, match="problem_only_without_network"), transaction.atomic():
            TicketUse.objects.create(
                client_id=uuid.uuid4(), ticket=ticket, at=timezone.now(), by=controller(ticket), problem="used"
            )

    def test_a_reason_stands_only_beside_a_problem(self) -> None:
        ticket = buy(kiosk())

        def write() -> None:
            TicketUse.objects.create(
                client_id=uuid.uuid4(), ticket=ticket, at=timezone.now(), by=ticket.made_by, reason="Déjà utilisé"
            )

        with undone():
            sql("ALTER TABLE bookings_ticketuse DROP CONSTRAINT reason_only_for_a_problem")
            write()
            assert TicketUse.objects.exclude(reason="").exists()
        with pytest.raises(Error, match="reason_only_for_a_problem"), transaction.atomic():
            write()


class TestReview:
    def flagged(self) -> TicketUse:
        ticket = buy(kiosk())
        agent = controller(ticket)
        scan(ticket, agent)
        scan(ticket, agent, offline_at=timezone.now())
        return TicketUse.objects.to_check().get()

    def test_only_what_was_flagged_is_reviewed(self) -> None:
        ticket = buy(kiosk())
        scan(ticket, controller(ticket))
        use = TicketUse.objects.get()
        guarded(
            "bookings.TicketUseReview:only_flagged_uses_are_reviewed",
            lambda: TicketUseReview.objects.create(use=use, note="Vu", by=use.by),
            "nothing to check",
            TicketUseReview.objects.exists,
        )

    def test_each_once(self) -> None:
        use = self.flagged()
        TicketUseReview.objects.create(use=use, note="Vu", by=use.by)
        with pytest.raises(Error, match="use_id"), transaction.atomic():
            TicketUseReview.objects.create(use=use, note="Encore", by=use.by)

    def test_not_without_a_note(self) -> None:
        use = self.flagged()
        with undone():
            sql("ALTER TABLE bookings_ticketusereview DROP CONSTRAINT review_has_a_note")
            TicketUseReview.objects.create(use=use, note="", by=use.by)
            assert not TicketUse.objects.to_check().exists()
        with pytest.raises(Error, match="review_has_a_note"), transaction.atomic():
            TicketUseReview.objects.create(use=use, note="", by=use.by)

    @pytest.mark.parametrize("act", ["delete", "update"])
    def test_what_was_said_stays(self, act: str) -> None:
        use = self.flagged()
        TicketUseReview.objects.create(use=use, note="Vu", by=use.by)
        rows = TicketUseReview.objects
        guarded(
            "bookings.TicketUseReview:reviews_are_kept",
            lambda: rows.all().delete() if act == "delete" else rows.update(note="Rien vu"),
            "Cannot",
            lambda: not rows.filter(note="Vu").exists(),
        )


class TestController:
    def test_a_door_is_one_of_its_service(self) -> None:
        entry, other = EntriesFactory(), SlotFactory(activity__service=EntriesFactory().activity.service)
        for activity in (other.activity, EntriesFactory().activity):  # a calendar, another service's tickets
            service = other.activity.service
            guarded(
                "bookings.Controller:door_is_of_its_service",
                lambda: Controller.objects.create(user=UserFactory(), service=service, activity=activity),  # noqa: B023
                "one of the service",
                Controller.objects.exists,
            )
        Controller.objects.create(user=UserFactory(), service=entry.activity.service, activity=entry.activity)

    def test_each_door_once(self) -> None:
        service, user = EntriesFactory().activity.service, UserFactory()
        with undone():
            sql("ALTER TABLE bookings_controller DROP CONSTRAINT one_controller_per_door")
            for _time in range(2):
                Controller.objects.create(user=user, service=service)
            assert Controller.objects.count() == 2
        Controller.objects.create(user=user, service=service)
        with pytest.raises(Error, match="one_controller_per_door"), transaction.atomic():
            Controller.objects.create(user=user, service=service)


class TestTicket:
    @pytest.mark.parametrize(
        "field", ["code", "beneficiary", "activity", "slot", "stop", "hold", "valid", "entries", "made_by"]
    )
    def test_what_was_bought_stays(self, field: str) -> None:
        shop = kiosk(EntriesFactory(entries=10))
        ticket = buy(shop)
        value: Any = {
            "code": new_code,
            "beneficiary": BeneficiaryFactory,
            "activity": PassActivityFactory,
            "slot": lambda: EntriesFactory(activity=shop.activity),
            "stop": lambda: BusStopFactory(line__activity=shop.activity),
            "hold": lambda: Hold.objects.create(user=shop.user, expires_at=timezone.now()),
            "valid": lambda: DateRange(today(), today() + A_MONTH * 99, "[)"),
            "entries": lambda: 99,
            "made_by": UserFactory,
        }[field]()
        guarded(
            "bookings.Ticket:ticket_is_frozen",
            lambda: Ticket.objects.filter(pk=ticket.pk).update(**{field: value}),
            "Cannot update",
            lambda: Ticket.objects.filter(**{field: value}).exists(),
        )

    @pytest.mark.parametrize("case", ["activity", "entries", "unit", "no unit", "calendar", "stop"])
    def test_it_fits_its_formula(self, case: str) -> None:
        ticket = buy(bikes(2))
        later = DateRange(today() + A_MONTH * 2, today() + A_MONTH * 3, "[)")
        changes: Any = {
            "activity": lambda: {"activity": PassActivityFactory(), "unit": None},
            "entries": lambda: {"entries": 5},
            "unit": lambda: {"unit": 3},
            "no unit": lambda: {"unit": None},
            "calendar": lambda: {"activity": ActivityFactory(), "slot": SlotFactory()},
            "stop": lambda: {"stop": BusStopFactory()},
        }[case]()
        guarded(
            "bookings.Ticket:ticket_fits_its_formula",
            lambda: copy(ticket, valid=later, **changes),
            "of its formula",
            lambda: Ticket.objects.count() == 2,
        )

    def test_it_is_kept(self) -> None:
        buy(kiosk())
        take(kiosk())
        CartLine.objects.all().delete()  # a ticket that nothing points to
        guarded(
            "bookings.Ticket:tickets_are_kept",
            lambda: Ticket.objects.filter(status="held").delete(),
            "Cannot delete",
            lambda: not Ticket.objects.filter(status="held").exists(),
        )
        sql("SET CONSTRAINTS ALL IMMEDIATE")  # TRUNCATE waits for no pending trigger
        with pytest.raises(Error, match="is never emptied"), transaction.atomic():
            sql("TRUNCATE bookings_ticket CASCADE")
        assert Ticket.objects.exists()

    def test_its_states_move_forward(self) -> None:
        buy(kiosk())
        guarded(
            "bookings.Ticket:ticket_transitions",
            lambda: Ticket.objects.update(status="held", booked_at=None),
            "Invalid transition",
            lambda: Ticket.objects.filter(status="held").exists(),
        )

    @pytest.mark.parametrize("valid", ["empty", "(,)", "[2026-09-01,)"])
    def test_it_has_its_dates(self, valid: str) -> None:
        buy(kiosk())
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        with pgtrigger.ignore("bookings.Ticket:ticket_is_frozen"):
            with undone():
                sql("ALTER TABLE bookings_ticket DROP CONSTRAINT ticket_has_its_dates")
                sql("UPDATE bookings_ticket SET valid = %s::daterange", valid)
            with pytest.raises(Error, match="ticket_has_its_dates"), transaction.atomic():
                sql("UPDATE bookings_ticket SET valid = %s::daterange", valid)


class TestConstraints:
    def dropped(self, table: str, name: str, fault: Any) -> None:
        """The fault with the constraint away, then refused by it."""
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        with undone():
            sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
            fault()
        with pytest.raises(Error, match=name), transaction.atomic():
            fault()

    def test_one_bike_has_one_renter(self) -> None:
        ticket = buy(bikes(2))
        self.dropped("bookings_ticket", "one_unit_one_renter", lambda: copy(ticket, beneficiary=BeneficiaryFactory()))

    def test_one_child_has_one_pass_at_a_time(self) -> None:
        ticket = buy(bikes(2))
        self.dropped("bookings_ticket", "one_pass_at_a_time", lambda: copy(ticket, unit=2))

    def test_a_cart_line_is_one_thing(self) -> None:
        take(kiosk())
        self.dropped(
            "checkout_cartline", "cart_line_is_a_booking_or_a_ticket", lambda: CartLine.objects.update(ticket=None)
        )

    def test_a_line_of_a_ticket_names_it(self) -> None:
        order = buy(kiosk()).order_lines.get().order
        self.dropped(
            "checkout_orderline",
            "ticket_line_has_a_ticket",
            lambda: OrderLine.objects.create(order=order, kind="ticket", label="x", unit_price=1),
        )


class TestCatalogue:
    def test_the_kind_stays(self) -> None:
        PassActivityFactory()
        guarded(
            "services.Activity:kind_is_frozen",
            lambda: Activity.objects.update(kind="ticket"),
            "Cannot update",
            lambda: Activity.objects.filter(kind="ticket").exists(),
        )

    @pytest.mark.parametrize("case", ["hours", "entries", "none"])
    def test_a_slot_is_of_its_activitys_kind(self, case: str) -> None:
        activity = ActivityFactory() if case == "hours" else PassActivityFactory()
        activity = PassActivityFactory(kind="ticket") if case == "none" else activity
        make = EntriesFactory if case == "entries" else PassFactory
        guarded(
            "services.Slot:slot_fits_its_activity",
            lambda: make(activity=activity),
            "a calendar has hours",
            lambda: Slot.objects.exists(),
        )

    @pytest.mark.parametrize(
        "changes",
        [
            {"starts_at": None, "ends_at": None},
            {"validity": 3},
            {"validity": 3, "validity_unit": "month"},
            {"entries": 3},
        ],
    )
    def test_a_slot_has_hours_or_a_validity(self, changes: dict[str, Any]) -> None:
        slot = SlotFactory()
        off = pgtrigger.ignore("services.Slot:slot_fits_its_activity")
        with off, pytest.raises(Error, match="slot_has_hours_or_a_validity"), transaction.atomic():
            Slot.objects.filter(pk=slot.pk).update(**changes)

    @pytest.mark.parametrize("kind, capacity", [("calendar", None), ("ticket", 3), ("pass", 0)])
    def test_places_are_of_the_kind(self, kind: str, capacity: int | None) -> None:
        with pytest.raises(Error, match="activity_has_places"), transaction.atomic():
            ActivityFactory(kind=kind, capacity=capacity)

    def test_only_a_calendar_has_days(self) -> None:
        activity = PassActivityFactory(capacity=3)
        guarded(
            "services.OpenDay:day_is_of_a_calendar",
            lambda: OpenDayFactory(activity=activity),
            "only a calendar has days",
            lambda: OpenDay.objects.exists(),
        )
