"""What nobody may write past places: bookings, tickets, who waits, closures, absences, lists."""

import datetime as dt
import uuid
from typing import Any

from django.db.backends.postgresql.psycopg_any import DateRange, DateTimeTZRange
from django.utils import timezone

from bookings.closures.models import Closure
from bookings.models import Booking, Hold, Ticket, TicketUse
from services.models import OpenDay, Slot
from tests.admin.world import Town, book
from tests.factories import (
    BeneficiaryFactory,
    EntriesFactory,
    PassActivityFactory,
    PassFactory,
    SlotFactory,
)
from tests.faults_of import (
    Fault,
    added,
    agent,
    changed,
    deleted,
    doubled,
    kept_right,
    now,
    parent,
    row_of,
    the,
    written,
)
from tests.faults_of.people import child

NOTHING = DateTimeTZRange(empty=True)


def slot_at_the_same_time(place: Town) -> object:
    slot: Slot = place.rows["services.slot"]
    return SlotFactory(activity=slot.activity, starts_at=slot.starts_at, ends_at=slot.ends_at)


def day_that_is_full(place: Town) -> object:
    day = row_of(place, "services.OpenDay")
    OpenDay.objects.filter(pk=day.pk).update(capacity=day.taken)
    return day


def slot_that_is_full(place: Town) -> object:
    slot: Slot = place.rows["services.slot"]
    Slot.objects.filter(pk=slot.pk).update(capacity=1)
    return slot


def count_is_wrong(place: Town) -> bool:
    day = row_of(place, "services.OpenDay")
    return day.taken != Booking.objects.live().filter(open_day=day).count()


def book_another(place: Town) -> Booking:
    return book(place, beneficiary=BeneficiaryFactory())


def cancel(place: Town) -> None:
    booked = Booking.objects.filter(pk=place.rows["bookings.booking"].pk)
    booked.update(status="cancelled", ended_at=timezone.now())


def book_and_delete(place: Town) -> None:
    Booking.objects.filter(pk=book_another(place).pk)._raw_delete("default")


def ticket(place: Town, slot: Slot, **values: Any) -> Ticket:
    valid = DateRange(dt.date(2026, 9, 1), dt.date(2026, 10, 1), "[)")
    hold = Hold.objects.create(user=place.parent, expires_at=timezone.now())
    row = {"activity": slot.activity, "slot": slot, "hold": hold, "valid": valid, "made_by": place.parent, **values}
    return Ticket.objects.create(beneficiary=BeneficiaryFactory(), entries=slot.entries, **row)


def ticket_of_one_entry_used(place: Town) -> object:
    row = ticket(place, EntriesFactory())
    use(place, row)
    return row


def rent_one_bike_twice(place: Town) -> None:
    formula = PassFactory(activity=PassActivityFactory(capacity=2))
    for _renter in range(2):
        ticket(place, formula, unit=1)


def use(place: Town, row: Ticket, **values: Any) -> TicketUse:
    return TicketUse.objects.create(client_id=uuid.uuid4(), ticket=row, at=timezone.now(), by=place.agent, **values)


def use_to_be_checked(place: Town) -> object:
    return use(place, place.rows["bookings.ticket"], problem="used", offline=True)


def entries_are_wrong(place: Town) -> bool:
    row = row_of(place, "bookings.Ticket")
    return row.used != row.uses.filter(problem="").count()


def another_closure(place: Town) -> object:
    return Closure.objects.create(
        scope="service",
        service=place.rows["services.service"],
        first_day=dt.date(2020, 1, 1),
        last_day=dt.date(2020, 1, 1),
        reason="x",
        made_by=place.agent,
        leaves_at=timezone.now(),
    )


PLACES: dict[str, list[Fault]] = {
    "services.OpenDay:places_are_not_oversold": [
        added(of="bookings.Booking", open_day=day_that_is_full, beneficiary=child),
        changed(capacity=0),
    ],
    "bookings.Hold:hold_ends_at_its_latest": [
        added(latest=now, expires_at=lambda _place: timezone.now() + dt.timedelta(hours=1))
    ],
    "bookings.Booking:one_place_at_a_time": [
        added(beneficiary=the("families.Beneficiary"), slot=slot_at_the_same_time)
    ],
    # Where bookings may overlap the guard in front says nothing.
    "bookings.Booking:booked_once": [
        doubled("open_day", "beneficiary", "slot", behind=("bookings.Booking:one_place_at_a_time",))
    ],
    "bookings.Booking:ended_booking_is_dated": [changed(status="cancelled"), changed(ended_at=now)],
    "bookings.Booking:confirmed_booking_is_dated": [changed(booked_at=None)],
    "bookings.Booking:booking_has_its_hours": [added(beneficiary=child, period=NOTHING)],
    "bookings.Booking:take_places": [kept_right(book_another, count_is_wrong)],
    "bookings.Booking:move_places": [kept_right(cancel, count_is_wrong)],
    "bookings.Booking:free_places": [kept_right(book_and_delete, count_is_wrong)],
    "bookings.Booking:within_its_slot": [added("a slot has no more places", slot=slot_that_is_full, beneficiary=child)],
    "bookings.Change:changes_are_append_only": [changed(by=agent), deleted()],
}

TICKETS: dict[str, list[Fault]] = {
    "bookings.Ticket:entries_are_not_overused": [added(of="bookings.TicketUse", ticket=ticket_of_one_entry_used)],
    "bookings.Ticket:one_unit_one_renter": [
        written(rent_one_bike_twice, lambda _place: Ticket.objects.filter(unit=1).count() == 2)
    ],
    "bookings.Ticket:one_pass_at_a_time": [doubled("beneficiary", "activity", used=0)],
    "bookings.Ticket:ended_ticket_is_dated": [changed(status="cancelled"), changed(ended_at=now)],
    "bookings.Ticket:confirmed_ticket_is_dated": [changed(booked_at=None)],
    "bookings.Ticket:ticket_has_its_dates": [
        added(beneficiary=child, used=0, valid=DateRange(empty=True)),
        added(beneficiary=child, used=0, valid=DateRange(None, None)),
    ],
    "bookings.TicketUse:problem_only_without_network": [added(problem="used", offline=False)],
    "bookings.TicketUse:reason_only_for_a_problem": [added(reason="Déjà utilisé")],
    "bookings.TicketUse:count_entries": [
        kept_right(lambda place: use(place, place.rows["bookings.ticket"]), entries_are_wrong)
    ],
    "bookings.TicketUseReview:review_has_a_note": [added(use=use_to_be_checked, note="")],
    "bookings.Controller:one_controller_per_door": [doubled("user", "service", "activity")],
}

WAITING: dict[str, list[Fault]] = {
    "bookings.WaitingListEntry:waits_once": [doubled("open_day", "beneficiary", "slot")],
    "bookings.WaitingListEntry:waiting_status_is_dated": [changed(offered_at=now), changed(status="left")],
    "bookings.WaitingListEntry:withdrawal_says_why": [changed(status="withdrawn", ended_at=now)],
}

CLOSURES: dict[str, list[Fault]] = {
    "bookings.Closure:closure_names_what_it_closes": [
        added(activity=None),
        added(scope="commune"),
        added(scope="service"),
        added(school=the("services.School")),
    ],
    "bookings.Closure:closure_days_are_in_order": [added(last_day=dt.date(2020, 1, 1))],
    "bookings.Closure:closure_says_why": [added(reason="")],
    "bookings.Closure:ended_closure_is_dated": [
        changed(status="undone"),
        changed(status="undone", ended_at=now),
        changed(ended_at=now),
    ],
    "bookings.Closure:closures_are_kept": [deleted(of=another_closure)],
    "bookings.ClosedDay:closed_once_by_a_closure": [doubled("closure", "open_day")],
    "bookings.ClosedDay:closed_days_are_kept": [changed(was_by_hand=True), deleted()],
    "bookings.ClosedBooking:ended_once_by_a_closure": [doubled("closure", "booking")],
    "bookings.ClosedBooking:closed_bookings_are_kept": [changed(booking=book_another), deleted()],
}

ABSENCES: dict[str, list[Fault]] = {
    "bookings.Absence:absence_decision_is_signed": [
        changed(status="justified"),
        changed(status="justified", decided_at=now),
        changed(status="justified", decided_by=agent),
        changed(decided_at=now),
    ],
    "bookings.Absence:nobody_justifies_their_own": [
        changed("of their own family", status="justified", decided_at=now, decided_by=parent)
    ],
    "bookings.Absence:absence_refusal_has_a_reason": [changed(status="refused", decided_at=now, decided_by=agent)],
    "bookings.Absence:absence_certificate_has_a_limit": [added(refund="certificate"), added(certificate_until=now)],
    "bookings.AbsenceDay:absent_once": [doubled("booking", is_live=True)],
    "bookings.AbsenceProof:proof_is_not_empty": [changed(size=0)],
    "bookings.AbsenceProof:proof_has_its_file_until_it_is_forgotten": [changed(file=""), changed(forgotten_at=now)],
}

LISTS: dict[str, list[Fault]] = {
    "bookings.CalendarFeed:one_feed_per_user": [doubled("user")],
    "bookings.SavedList:one_list_per_name": [added(user=parent, name="LE MIDI")],
    "bookings.SavedList:list_has_a_name": [changed(name="")],
    "bookings.SavedListRow:one_row_per_person": [doubled("saved_list", "beneficiary")],
    "bookings.SavedListRow:list_row_has_weekdays": [changed(weekdays=[]), changed(weekdays=[7])],
}

FAULTS = PLACES | TICKETS | WAITING | CLOSURES | ABSENCES | LISTS
