"""The page of bookings, where staff may also cancel: it pays back, which the layer of bookings knows nothing of."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import Right, staff
from bookings.admin import BookingAdmin
from bookings.models import Booking
from checkout.actions import cancel_for
from checkout.actions.cancellation import own_among, own_card, own_family
from checkout.models import Order, OrderLine
from checkout.refunds.actions import back_to
from checkout.vouchers.reading import fates_without
from portal.common.errors import Refused
from portal.common.formats import euros
from portal.common.money import ZERO

MOST = 100  # bookings cancelled at once from the list; a closed day has its own page


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Motif de l’annulation"),
        help_text=gettext_lazy("Les familles le liront dans leur courriel et dans « Mes réservations »."),
        max_length=200,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={"required": gettext_lazy("Écrivez le motif de l’annulation\u00a0: les familles le liront.")},
    )
    override = forms.BooleanField(label=gettext_lazy("Annuler malgré la limite passée"), required=False)
    to_card = forms.BooleanField(
        label=gettext_lazy("Rendre sur la carte ce qu’une carte a payé, au lieu du porte-monnaie"), required=False
    )


admin.site.unregister(Booking)


@admin.register(Booking)
class CancellingBookingAdmin(BookingAdmin):
    agents = operators = Right.VIEW | Right.DECIDE
    actions = ["cancel_selected"]

    def has_decide_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Right.DECIDE, obj)

    @admin.action(description=gettext_lazy("Annuler et rembourser…"), permissions=["decide"])
    def cancel_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Says what goes back and asks for the reason, then cancels: the page posts the same action to the list again."""
        rows = list(queryset.filter(status=Booking.Status.BOOKED).order_by("period", "pk")[: MOST + 1])
        if not rows:
            self.say(request, messages.WARNING, [_("Aucune de ces réservations n’est à annuler.")])
            return None
        if len(rows) > MOST:
            self.say(request, messages.ERROR, [_("Choisissez %d réservations au plus à la fois.") % MOST])
            return None
        form = ReasonForm(request.POST if "confirm" in request.POST else None)
        if form.is_valid() and self._cancel(request, rows, form):
            return None
        now = timezone.now()
        given = [row for row in rows if row.period.lower <= now]
        late = [row for row in rows if row not in given and row.open_day.cancel_until <= now]
        paid = list(OrderLine.objects.filter(booking__in=rows, order__status=Order.Status.PAID, cancelled_at=None))
        own = own_among([row.pk for row in rows], staff(request))
        another = bool(own and (late or given))
        back = back_to(paid)
        may_card = bool(back["on_card"]) and staff(request).is_operator
        context = {
            "title": _("Annuler des réservations"),
            "rows": rows,
            "in_time": [row for row in rows if row not in given and row not in late],
            "late": late,
            "given": given,
            "another": another,
            "own": own_family(own) if another and not form.errors else "",
            "own_card": own_card(own) if own and may_card else "",
            "others": len(rows) - len(own),
            **back,
            "vouchers": fates_without(paid),
            # The mairies have no say in where the régie's money goes, nor anybody for their own family.
            **({} if may_card and not own else {"on_card": ZERO}),
            "form": form,
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return self.page(request, "admin/bookings/booking/cancel.html", context)

    def _cancel(self, request: HttpRequest, rows: Sequence[Booking], form: ReasonForm) -> bool:
        """Whether it is done; what the action refuses is said at the form."""
        try:
            refunds = cancel_for(ids=[row.pk for row in rows], by=staff(request), **form.cleaned_data)
        except Refused as refusal:
            form.add_error("override" if refusal.code == "too_late" else None, list(refusal.messages))
            return False
        count = sum(len(refund.bookings) for refund in refunds)
        said = [ngettext("%d réservation annulée.", "%d réservations annulées.", count) % count]
        if to_wallet := sum((refund.to_wallet for refund in refunds), ZERO):
            said.append(_("%s rendus au porte-monnaie de qui a payé.") % euros(to_wallet))
        if to_card := sum((refund.to_card for refund in refunds), ZERO):
            said.append(_("%s repartent vers la carte de qui a payé.") % euros(to_card))
        if not to_wallet and not to_card:
            said.append(_("Rien n’avait été payé, rien n’est à rendre."))
        again = [str(refund.vouchers) for refund in refunds if refund.vouchers.again]
        self.say(request, messages.SUCCESS, [" ".join(said), *again])
        return True
