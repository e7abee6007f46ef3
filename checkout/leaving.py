"""What « Retirer un bénéficiaire » leaves behind: bookings to come, dates in the cart, places that are waited for."""

from django.db.models import Q
from django.utils.translation import ngettext

from bookings.models import Booking, Ticket
from bookings.waiting.models import WaitingListEntry
from checkout.models import Cart, CartLine
from families.models import Filiation
from portal.common.formats import today


def left_behind(filiation: Filiation) -> list[str]:
    """A sentence each about this adult's bookings and cart lines for the person, with what becomes of them."""
    user, person = filiation.user, filiation.beneficiary
    coming = Booking.objects.booked().filter(beneficiary=person, made_by=user, open_day__date__gte=today()).count()
    theirs = Q(booking__beneficiary=person) | Q(ticket__beneficiary=person)
    lines = CartLine.objects.filter(theirs, cart__user=user)
    tickets = [row for row in Ticket.objects.booked().filter(beneficiary=person, made_by=user) if not row.is_over]
    waiting = lines.filter(cart__status=Cart.Status.OPEN).count()
    being_paid = lines.filter(cart__status=Cart.Status.PAYING).count()
    waited_for = WaitingListEntry.objects.of(user).live().filter(beneficiary=person).count()
    sentences = [
        (
            coming,
            ngettext(
                "%(name)s a %(n)d réservation à venir : elle n’est pas annulée. Vous la retrouverez dans « Mes "
                "réservations », où vous pourrez toujours l’annuler.",
                "%(name)s a %(n)d réservations à venir : elles ne sont pas annulées. Vous les retrouverez dans « Mes "
                "réservations », où vous pourrez toujours les annuler.",
                coming,
            ),
        ),
        (
            len(tickets),
            ngettext(
                "%(name)s a %(n)d e-billet : il reste valable, et dans « Mes e-billets ».",
                "%(name)s a %(n)d e-billets : ils restent valables, et dans « Mes e-billets ».",
                len(tickets),
            ),
        ),
        (
            waiting,
            ngettext(
                "Votre panier contient %(n)d date pour %(name)s : vous ne pourrez plus la payer. Retirez-la du panier.",
                "Votre panier contient %(n)d dates pour %(name)s : vous ne pourrez plus les payer. Retirez-les du panier.",
                waiting,
            ),
        ),
        (
            being_paid,
            ngettext(
                "Une commande en cours de règlement contient %(n)d date pour %(name)s : si le règlement aboutit, elle sera "
                "réservée.",
                "Une commande en cours de règlement contient %(n)d dates pour %(name)s : si le règlement aboutit, elles "
                "seront réservées.",
                being_paid,
            ),
        ),
        (
            waited_for,
            ngettext(
                "%(name)s attend %(n)d place d’un jour complet : aucune ne lui sera plus proposée. Quittez la liste dans « Mes "
                "listes d’attente ».",
                "%(name)s attend %(n)d places de jours complets : aucune ne lui sera plus proposée. Quittez les listes dans "
                "« Mes listes d’attente ».",
                waited_for,
            ),
        ),
    ]
    return [text % {"n": n, "name": person.first_name} for n, text in sentences if n]
