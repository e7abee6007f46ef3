"""Bookings are looked up here; they are made, cancelled and counted elsewhere."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, Subquery
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import ReadOnlyAdmin, Right, staff
from accounts.admin_history import Happening, told
from accounts.models import User
from bookings.history import ended_words
from bookings.models import Absence, AbsenceDay, Booking, Change
from bookings.tickets.admin import TicketAdmin as TicketAdmin
from bookings.waiting.admin import WaitingListEntryAdmin
from families.admin import AccountAdmin
from portal.common.formats import long_date, today

__all__ = ["BookingAdmin", "WaitingListEntryAdmin"]  # beside what is written here, what stands in modules of its own


def bookings_at_stake(people: Sequence[User], by: User) -> dict[int, str]:
    """How many bookings to come these families have, as far as this member of staff may see them."""
    coming = Booking.objects.visible_to(by).booked().filter(open_day__date__gte=today())
    counted = (
        coming.filter(beneficiary__filiations__user__in=people, beneficiary__filiations__ended_at=None)
        .values_list("beneficiary__filiations__user")
        .annotate(Count("pk", distinct=True))
        .order_by()
    )
    return {
        user: ngettext("%d réservation à venir.", "%d réservations à venir.", count) % count for user, count in counted
    }


AccountAdmin.stakes.append(bookings_at_stake)


class AbsenceFilter(admin.SimpleListFilter):
    """Who is not expected: what a service that counts its meals asks."""

    title = gettext_lazy("absence")
    parameter_name = "absence"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("oui", _("Signalée")), ("non", _("Aucune"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "oui":
                return queryset.filter(absence_status__isnull=False)
            case "non":
                return queryset.filter(absence_status=None)
        return queryset


@admin.register(Booking)
class BookingAdmin(ReadOnlyAdmin):
    agents = Right.VIEW
    list_display = ["day", "beneficiary", "activity", "slot", "status", "absence", "booked_at"]
    list_filter = ["status", "open_day__activity", AbsenceFilter]
    list_select_related = ["beneficiary", "open_day__activity", "slot"]
    date_hierarchy = "open_day__date"
    search_fields = ["beneficiary__last_name", "beneficiary__first_name", "open_day__activity__name"]
    search_help_text = gettext_lazy("Nom de l’enfant ou activité.")
    ordering = ["-open_day__date", "-pk"]
    fields = [
        *("beneficiary", "activity", "day", "slot", "status"),
        *("made", "created_at", "booked_at", "ended_at", "ended", "ended_reason"),
    ]
    readonly_fields = ["activity", "day", "made", "ended"]

    def get_queryset(self, request: HttpRequest) -> Any:
        reported = AbsenceDay.objects.filter(booking=OuterRef("pk"), is_live=True)
        return super().get_queryset(request).annotate(absence_status=Subquery(reported.values("absence__status")[:1]))

    signers = ["made_by", "ended_by"]

    @admin.display(description=gettext_lazy("jour"), ordering="open_day__date")
    def day(self, obj: Booking) -> str:
        return capfirst(long_date(obj.date))

    @admin.display(description=gettext_lazy("activité"), ordering="open_day__activity__name")
    def activity(self, obj: Booking) -> str:
        return str(obj.open_day.activity)

    @admin.display(description=gettext_lazy("absence"), empty_value="–")
    def absence(self, obj: Booking) -> str | None:
        status = obj.absence_status
        return str(Absence.Status(status).label) if status else None

    @admin.display(description=gettext_lazy("réservé par"))
    def made(self, obj: Booking) -> str:
        return self.signature(obj, "made_by")

    @admin.display(description=gettext_lazy("annulé par"))
    def ended(self, obj: Booking) -> str:
        return self.signature(obj, "ended_by")

    def story(self, request: HttpRequest, obj: Booking) -> list[Happening]:
        more: list[tuple[dt.datetime | None, int | None, str]] = []
        for day in AbsenceDay.objects.filter(booking=obj).select_related("absence"):
            absence = day.absence
            more.append((absence.reported_at, absence.reported_by_id, _("Absence signalée.")))
            decided = _("Absence\u00a0: %s.") % absence.get_status_display().lower()
            more.append((absence.decided_at, absence.decided_by_id, decided))
        for change in Change.objects.filter(after=obj).select_related("before__open_day", "before__slot"):
            words = {"day": long_date(change.before.date), "slot": change.before.slot}
            more.append((change.at, change.by_id, _("Remplace %(day)s, %(slot)s.") % words))
        facts = [
            (obj.created_at, obj.made_by_id, _("Place prise dans le panier.")),
            (obj.booked_at, obj.made_by_id, _("Réservation confirmée.")),
            (obj.ended_at, obj.ended_by_id, ended_words(obj)),
        ]
        return told(staff(request), [*facts, *more])
