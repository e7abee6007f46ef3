"""What nobody may write past services: their rules, calendars, prices and who may have them."""

import datetime as dt
from decimal import Decimal

from django.db.backends.postgresql.psycopg_any import DateRange, NumericRange

from services.models import TariffGrid
from tests.admin.world import Town
from tests.factories import AccessProfileFactory, CommuneFactory, DeadlineFactory, ServiceFactory
from tests.faults_of import Fault, added, changed, doubled, kept_right, now, row_of

FARES_LAST = DateRange(dt.date(2026, 1, 1), dt.date(2026, 2, 1), "[)")


def rule_of_everybody(_place: Town) -> object:
    return DeadlineFactory(name="La veille")


def rule_with_a_second_limit(_place: Town) -> object:
    return DeadlineFactory(name="Deux limites", late=DeadlineFactory(name="Le matin", offset=0))


def rule_of_elsewhere(_place: Town) -> object:
    return DeadlineFactory(name="D’ailleurs", commune=CommuneFactory())


def other_service(_place: Town) -> object:
    return ServiceFactory()


def other_profile(_place: Town) -> object:
    return AccessProfileFactory()


def set_the_dates(place: Town) -> None:
    TariffGrid.objects.filter(pk=place.rows["services.tariffgrid"].pk).update(valid=FARES_LAST)


def fares_keep_other_dates(place: Town) -> bool:
    return bool(row_of(place, "services.Tariff").valid != row_of(place, "services.TariffGrid").valid)


RULES: dict[str, list[Fault]] = {
    "services.AbsenceRule:certificate_has_its_hours": [changed(certificate_hours=None), changed(certificate_hours=0)],
    "services.AbsenceRule:what_is_never_refunded_waits_for_nothing": [
        changed(refund="never", certificate_hours=None, waiting_days=2)
    ],
    "services.Deadline:one_deadline_per_name": [doubled("commune", "name")],
    "services.Deadline:deadline_week_has_a_weekday": [changed(basis="week"), changed(weekday=2)],
    "services.Deadline:deadline_has_a_limit_for_each_weekday": [
        changed(basis="weekdays"),
        changed(basis="weekdays", weekday_limits=[0, 0]),
        changed(weekday_limits=[0] * 7),
    ],
    "services.Deadline:deadline_opens_before_it_closes": [changed(basis="holidays", offset=2, opens_weeks=2)],
    "services.Deadline:surcharge_has_an_amount": [
        changed(surcharge_amount=Decimal(1)),
        changed(surcharge="added", late=rule_of_everybody),
        changed(surcharge="added", surcharge_amount=Decimal(1)),
        changed(surcharge="added", surcharge_amount=Decimal(-1), late=rule_of_everybody),
    ],
    "services.Deadline:late_is_never_cheaper": [
        changed(surcharge="times", surcharge_amount=Decimal("0.5"), late=rule_of_everybody)
    ],
}

CATALOGUE: dict[str, list[Fault]] = {
    "services.School:one_school_per_name": [doubled("commune", "name")],
    "services.School:school_has_classes": [changed(levels=[])],
    "services.Classroom:one_classroom_per_name": [doubled("school", "year", "name")],
    "services.Classroom:classroom_has_levels": [changed(levels=[])],
    "services.Service:service_has_deadlines": [changed(booking_deadline=None), changed(cancel_deadline=None)],
    "services.Service:cancelling_is_never_late": [
        changed("are cancelled until one limit", cancel_deadline=rule_with_a_second_limit)
    ],
    "services.Activity:cancelling_is_never_late": [
        changed("are cancelled until one limit", cancel_deadline=rule_with_a_second_limit)
    ],
    "services.Activity:activity_names_its_rules": [
        changed("is another commune's", booking_deadline=rule_of_elsewhere),
        changed("is another commune's", cancel_deadline=rule_of_elsewhere),
    ],
    "services.Activity:one_activity_per_slug": [doubled("service", "slug")],
    "services.Activity:activity_has_places": [changed(capacity=None), changed(capacity=0)],
    "services.Activity:offer_lasts_a_while": [changed(offer_hours=0), changed(offer_hours=241)],
    "services.Activity:ages_are_in_order": [changed(min_age=12, max_age=3)],
    "services.Slot:one_slot_per_name": [doubled("activity", "name")],
    "services.Slot:slot_ends_after_it_starts": [
        changed(starts_at=dt.time(12), ends_at=dt.time(12)),
        changed(starts_at=dt.time(14), ends_at=dt.time(12)),
    ],
    "services.Slot:cost_is_positive": [added(name="Autre", cost_per_user=Decimal(0))],
    "services.Slot:cost_covers_the_fares": [changed("a fare in force is above", cost_per_user=Decimal("7.89"))],
    "services.Slot:care_with_a_meal_says_its_price": [
        changed(meal_price=Decimal(1)),
        changed(nature="both", includes_meal=True),
        changed(nature="both", includes_meal=True, meal_price=Decimal(0)),
    ],
    "services.Slot:nature_agrees_about_the_meal": [
        changed(nature="care", includes_meal=True),
        changed(nature="meal", includes_meal=False),
    ],
    "services.Slot:slot_has_hours_or_a_validity": [
        changed(validity=1),
        changed(validity_unit="month"),
        changed(ends_at=None),
    ],
    "services.AccessProfile:one_profile_per_label": [doubled("service", "label")],
    "services.Subscription:one_request_per_profile": [doubled("user", "profile")],
    "services.Subscription:request_decision_is_dated": [changed(status="approved"), changed(decided_at=now)],
    "services.Subscription:what_ends_is_renewed": [changed(renewal_asked_at=now)],
    "services.Subscription:request_refusal_has_a_reason": [changed(status="refused", decided_at=now)],
    "services.Subscription:request_transitions": [
        changed(after={"status": "approved", "decided_at": now}, status="pending", decided_at=None)
    ],
    "services.BusLine:one_line_per_name": [doubled("activity", "name")],
    "services.BusStop:one_stop_per_name": [doubled("line", "name")],
}

CALENDAR: dict[str, list[Fault]] = {
    "services.SchoolHoliday:holiday_ends_after_it_starts": [changed(last_day=dt.date(2020, 1, 1))],
    "services.SchoolHoliday:one_holiday_per_first_day": [doubled("first_day")],
    "services.OpenDay:one_open_day_per_date": [doubled("activity", "date", taken=0, by_hand=True)],
    "services.OpenDay:closed_day_says_why": [changed(is_open=False)],
    "services.OpenDay:late_is_after_the_deadline": [
        changed(late_until=lambda place: place.rows["services.openday"].book_until - dt.timedelta(days=1))
    ],
    "services.ActivityPeriod:named_period_names_its_holidays": [changed(holiday="Hiver"), changed(kind="named")],
    "services.ActivityPeriod:period_dates_are_in_order": [
        changed(kind="dates"),
        changed(kind="dates", first_day=dt.date(2027, 1, 1)),
        changed(kind="dates", first_day=dt.date(2027, 1, 2), last_day=dt.date(2027, 1, 1)),
        changed(first_day=dt.date(2027, 1, 1)),
    ],
    "services.ActivityPeriod:period_has_places": [changed(capacity=0)],
    "services.ActivityPeriod:period_has_weekdays_of_a_week": [changed(weekdays=[7])],
}

FARES: dict[str, list[Fault]] = {
    "services.TariffGrid:grid_lasts": [added(name="Autre", valid=DateRange(empty=True))],
    "services.TariffGrid:one_grid_per_name": [doubled("service", "name")],
    "services.TariffGrid:fares_follow_their_grid": [kept_right(set_the_dates, fares_keep_other_dates)],
    "services.TariffGrid:grid_stays_with_its_service": [changed(service=other_service)],
    "services.Tariff:fare_belongs_to_its_grid": [
        changed("grid, slot and profile are of one service", profile=other_profile)
    ],
    "services.Tariff:price_is_not_negative": [changed(price=Decimal(-1))],
    "services.Tariff:price_or_share_of_the_quotient": [
        changed(price=None),
        changed(rate=Decimal("0.01")),
        changed(price=None, rate=Decimal("0.01"), floor=Decimal(5), ceiling=Decimal(4)),
        changed(price=None, rate=Decimal("0.01"), floor=Decimal(-1), ceiling=Decimal(4)),
    ],
    "services.Tariff:fare_is_for_somebody": [
        changed(rank=NumericRange(empty=True)),
        changed(quotient=NumericRange(empty=True)),
        changed(age=NumericRange(empty=True)),
    ],
    "services.Tariff:one_price_at_a_time": [doubled("slot", "profile")],
}

FAULTS = RULES | CATALOGUE | CALENDAR | FARES
