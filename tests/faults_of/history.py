"""What histories follow: a row that is made, and a change of one."""

from decimal import Decimal

from tests.admin.world import Town
from tests.factories import AccessProfileFactory, ServiceFactory
from tests.faults_of import Fault, added, changed, doubled, now, somebody


def another_profile(place: Town) -> object:
    return AccessProfileFactory(service=place.rows["services.service"])


def another_service(place: Town) -> object:
    return ServiceFactory(commune=place.commune)


MADE: dict[str, Fault] = {
    "accounts.StaffRole": added(user=somebody),
    "accounts.User": added(email="autre@exemple.fr"),
    "bookings.Controller": added(user=somebody),
    "checkout.Regie": added(name="Autre"),
    "checkout.VoucherScope": doubled("voucher"),
    "families.Beneficiary": added(last_name="Autre"),
    "families.Enrolment": added(year=2030),
    "families.Filiation": added(user=somebody),
    "families.IncomeQuotient": added(user=somebody),
    "services.AbsenceRule": added(name="Autre"),
    "services.AccessProfile": added(label="Autre"),
    "services.Activity": added(slug="autre"),
    "services.ActivityPeriod": added(weekdays=[6]),
    "services.BusLine": added(name="Autre"),
    "services.BusStop": added(name="Autre"),
    "services.Classroom": added(name="Autre"),
    "services.Deadline": added(name="Autre"),
    "services.School": added(name="Autre"),
    "services.Service": added(name="Autre"),
    "services.Slot": added(name="Autre"),
    "services.Subscription": added(user=somebody),
    "services.Tariff": added(profile=another_profile),
    "services.TariffGrid": added(name="Autre"),
}

CHANGED: dict[str, Fault] = {
    "accounts.StaffRole": changed(takes_money=True),
    "accounts.User": changed(last_name="Autre"),
    "bookings.Controller": changed(activity=None),
    "bookings.WaitingListEntry": changed(status="left", ended_at=now),
    "checkout.Regie": changed(name="Autre"),
    "checkout.Voucher": changed(label="Autre"),
    "checkout.VoucherScope": changed(service=another_service),
    "families.Beneficiary": changed(last_name="Autre"),
    "families.Enrolment": changed(level="CE2"),
    "families.Filiation": changed(ended_at=now),
    "families.IncomeQuotient": changed(reason="Autre"),
    "services.AbsenceRule": changed(name="Autre"),
    "services.AccessProfile": changed(label="Autre"),
    "services.Activity": changed(name="Autre"),
    "services.ActivityPeriod": changed(weekdays=[6]),
    "services.BusLine": changed(name="Autre"),
    "services.BusStop": changed(name="Autre"),
    "services.Classroom": changed(name="Autre"),
    "services.Deadline": changed(name="Autre"),
    "services.OpenDay": changed(capacity=30),
    "services.School": changed(name="Autre"),
    "services.Service": changed(name="Autre"),
    "services.Slot": changed(name="Autre"),
    "services.Subscription": changed(reason="Autre"),
    "services.Tariff": changed(price=Decimal(5)),
    "services.TariffGrid": changed(name="Autre"),
}
