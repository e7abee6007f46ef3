"""Cancelling: some bookings that were ticked, or all that are like one; what comes back is said before."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from accounts.models import User
from accounts.views import current_user
from bookings.agenda import Family, Filters, State
from bookings.models import Booking, BookingQuerySet
from checkout.actions import cancel_bookings
from checkout.actions.cancellation import Returned
from checkout.forms import keys
from checkout.models import Order, OrderLine
from checkout.refunds.actions import back_to
from checkout.summary import FEW_DATES, booking_groups
from checkout.views.reservations import may_cancel, shown
from checkout.vouchers.reading import fates_without
from portal.common.errors import Refused
from portal.common.formats import euros
from portal.common.money import ZERO

MOST = 400  # cancelled by one press, as many as are booked by one


@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: HttpRequest) -> HttpResponse:
    """Say what goes back to the wallet, then cancel (POST).

    GET names them: fields `r`; `comme` for all that are like one; or `toutes` with the fields of « Mes réservations », for
    all that its filters show and that may still be cancelled.
    """
    user = current_user(request)
    if request.method == "POST":
        return _cancel(request, user, keys(request.POST.getlist("r")), to_card=request.POST.get("vers") == "carte")
    family = Family(user)
    ids = keys(request.GET.getlist("r"))
    like = next(iter(keys([request.GET.get("comme", "")])), None)
    everything = "toutes" in request.GET
    rows = list(_all_shown(user, family, request)) if everything else _asked(family, ids, like)
    if not rows and everything:
        messages.info(request, _("De ce que montrent ces filtres, plus rien ne peut être annulé."))
        return redirect("reservations")
    if not rows:
        messages.info(request, _("Cochez d’abord les réservations à annuler."))
        return redirect("reservations")
    booked = [row for row in rows if row.status == Booking.Status.BOOKED]
    if not booked:
        messages.info(request, _("Ces réservations ne sont plus à annuler : elles l’ont déjà été."))
        return redirect("reservations")
    mine = [row for row in booked if may_cancel(user, row)]
    lines = _paid(user, mine)
    prices = {pk: line.paid for pk, line in lines.items()}
    priced = [(row, prices.get(row.pk, ZERO)) for row in mine]
    context = {
        "rows": priced,
        "groups": booking_groups(priced) if len(priced) > FEW_DATES else [],
        "late": [row for row in booked if row.made_by_id == user.pk and row not in mine],
        "others": [row for row in booked if row.made_by_id != user.pk],
        "like": rows[0] if like else None,
        "most": MOST if everything and len(rows) == MOST else 0,
        **back_to(lines.values(), by_family=True),
        "vouchers": fates_without(lines.values()),
    }
    return render(request, "checkout/cancel.html", context)


def _all_shown(user: User, family: Family, request: HttpRequest) -> BookingQuerySet:
    """What this person may cancel of all that an address of « Mes réservations » shows, soonest first, at most MOST."""
    rows = shown(family, request.GET).booked()
    return rows.filter(made_by=user, open_day__cancel_until__gt=timezone.now())[:MOST]


def _asked(family: Family, ids: set[int], like: int | None) -> list[Booking]:
    """The family's bookings that the address names, soonest first. Raises Http404 when it names none of them."""
    known = family.bookings(Filters(state=State.ALL))
    if like is not None:
        one = known.filter(pk=like).first()
        if one is None:
            raise Http404
        return list(family.alike(one)) or [one]
    rows = list(known.filter(pk__in=ids))
    if ids and not rows:
        raise Http404
    return rows


def _cancel(request: HttpRequest, user: User, ids: set[int], *, to_card: bool) -> HttpResponse:
    try:
        returned = cancel_bookings(ids=ids, by=user, to_card=to_card)
    except Refused as refusal:
        if _done_before(user, ids):  # the same form, sent a second time
            messages.info(request, _("C’est déjà fait : ces réservations sont annulées, une seule fois."))
            return redirect("reservations")
        for text in refusal.messages:
            messages.error(request, text)
        return redirect("reservations")
    done = ngettext("Réservation annulée.", "%d réservations annulées.", len(ids))
    messages.success(request, f"{done % len(ids) if len(ids) > 1 else done} {where(returned)}")
    return redirect("reservations")


def _done_before(user: User, ids: set[int]) -> bool:
    mine = Booking.objects.filter(pk__in=ids, made_by=user, ended_by=user, status=Booking.Status.CANCELLED)
    return bool(ids) and mine.count() == len(ids)


def where(returned: Returned) -> str:
    """Where the money of cancelled bookings is, and what became of their vouchers."""
    return f"{_money(returned)} {returned.vouchers}".strip()


def _money(returned: Returned) -> str:
    words = {"wallet": euros(returned.to_wallet), "card": euros(returned.to_card)}
    if not returned.total:
        return _("Rien n’avait été payé, rien n’est à rendre.")
    if not returned.to_card:
        return _("Votre porte-monnaie a reçu %(wallet)s.") % words
    if not returned.to_wallet:
        return _("%(card)s reviennent sur votre carte, en 3 à 10 jours selon votre banque.") % words
    return (
        _(
            "%(card)s reviennent sur votre carte, en 3 à 10 jours selon votre banque ; votre porte-monnaie a reçu %(wallet)s."
        )
        % words
    )


def _paid(user: User, rows: list[Booking]) -> dict[int, OrderLine]:
    """The line by which this person paid each booking, by its key."""
    lines = OrderLine.objects.filter(
        booking__in=rows, order__user=user, order__status=Order.Status.PAID, cancelled_at=None
    )
    return {line.booking_id: line for line in lines if line.booking_id is not None}
