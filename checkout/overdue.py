"""What should have happened by itself and has not: tasks write a row that fails down and go on; here it is told."""

from collections.abc import Iterator

from django.db.models import Count, Exists, Min, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bookings.closures.models import Closure
from checkout.models import FORGET_AFTER, GIVE_UP_AFTER, Order, Payment, ProviderEvent
from portal.common.formats import euros, moment
from portal.common.rows import LATE_AFTER


def overdue() -> Iterator[str]:
    """One sentence for each closure, order, payment and provider's word that is still where it was an hour after its time, and
    what to do."""
    late = timezone.now() - LATE_AFTER
    closures = Closure.objects.due(at=late).select_related("commune", "service", "activity", "school", "classroom")
    for closure in closures.order_by("leaves_at"):
        yield _(
            "Fermeture «\u00a0%(closure)s\u00a0»\u00a0: elle devait s’appliquer le %(date)s. Les réservations ne sont pas annulées, les"
            " familles ne sont ni prévenues ni remboursées. Elle est essayée de nouveau chaque minute\u00a0; sous «\u00a0Fermetures\u00a0»,"
            " sur sa page, prévenez les familles maintenant ou annulez-la. Si rien n’y fait, prévenez l’exploitation."
        ) % {"closure": closure, "date": moment(closure.leaves_at)}
    # An order of long ago whose last try has just ended is none that was forgotten.
    just_ended = Payment.objects.filter(order=OuterRef("pk"), ended_at__gt=late)
    orders = Order.objects.awaiting_nobody().filter(~Exists(just_ended), created_at__lt=late - FORGET_AFTER)
    for order in orders.order_by("pk"):
        yield _(
            "Commande %(number)s, sans règlement depuis le %(date)s\u00a0: elle devait être abandonnée. Le panier"
            " de la famille reste bloqué. C’est essayé de nouveau toutes les dix minutes\u00a0; la famille peut l’abandonner elle-même, dans son"
            " panier ou sur la page de son dépôt. Si rien n’y fait, prévenez l’exploitation."
        ) % {"number": order.number, "date": moment(order.created_at)}
    answered: set[int] = set()
    unapplied = ProviderEvent.objects.unapplied().filter(received_at__lt=late).select_related("payment__order")
    for event in unapplied.order_by("received_at", "pk"):
        if event.payment is None or event.payment.pk in answered:
            continue
        answered.add(event.payment.pk)
        if event.stated == ProviderEvent.REFUND_FAILED:
            yield _(
                "Commande %(number)s\u00a0: le prestataire (%(provider)s) a dit le %(date)s qu’un remboursement n’est pas arrivé sur la carte, et"
                " cela n’a pas pu être appliqué. Prévenez l’exploitation, puis, sous «\u00a0Remboursements sur carte\u00a0», sur sa page,"
                " portez la somme au porte-monnaie."
            ) % {
                "number": event.payment.order.number,
                "provider": event.provider,
                "date": moment(event.received_at),
            }
            continue
        yield _(
            "Commande %(number)s\u00a0: ce que le prestataire (%(provider)s) a dit le %(date)s du règlement de %(amount)s n’a"
            " pas pu être appliqué\u00a0; la carte est peut-être débitée sans que la commande soit payée. Prévenez l’exploitation,"
            " puis, sous «\u00a0Règlements\u00a0», sur sa page, pressez «\u00a0Demander au prestataire\u00a0»."
        ) % {
            "number": event.payment.order.number,
            "provider": event.provider,
            "date": moment(event.received_at),
            "amount": euros(event.payment.amount),
        }
    unread = ProviderEvent.objects.unread().filter(received_at__lt=late)
    for event in unread.filter(payment__isnull=False).order_by("received_at", "pk").select_related("payment__order"):
        if event.payment is None or event.payment.pk in answered:
            continue
        answered.add(event.payment.pk)
        yield _(
            "Commande %(number)s\u00a0: le prestataire (%(provider)s) a parlé le %(date)s du règlement de %(amount)s, et n’a pas pu être"
            " interrogé sur ce qu’il en dit\u00a0; la carte est peut-être débitée sans que la plateforme le sache. Sous"
            " «\u00a0Règlements\u00a0», sur sa page, pressez «\u00a0Demander au prestataire\u00a0»\u00a0; s’il ne répond toujours pas, cherchez"
            " le règlement chez lui, puis marquez son message comme vu sous «\u00a0Messages des prestataires\u00a0»."
        ) % {
            "number": event.payment.order.number,
            "provider": event.provider,
            "date": moment(event.received_at),
            "amount": euros(event.payment.amount),
        }
    by_provider = (
        unread.filter(payment=None)
        .order_by("provider")
        .values_list("provider")
        .annotate(Count("pk"), Min("received_at"))
    )
    for provider, count, first in by_provider:
        yield ngettext(
            "Prestataire %(provider)s\u00a0: %(count)d message reçu le %(date)s n’a pas pu être lu. Un règlement ou un remboursement"
            " a peut-être abouti sans que la plateforme le sache. Prévenez l’exploitation, regardez chez le prestataire, puis marquez-le comme"
            " vu sous «\u00a0Messages des prestataires\u00a0».",
            "Prestataire %(provider)s\u00a0: %(count)d messages reçus depuis le %(date)s n’ont pas pu être lus. Un règlement ou un"
            " remboursement a peut-être abouti sans que la plateforme le sache. Prévenez l’exploitation, regardez chez le prestataire, puis"
            " marquez-les comme vus sous «\u00a0Messages des prestataires\u00a0».",
            count,
        ) % {"provider": provider, "count": count, "date": moment(first)}
    payments = Payment.objects.awaiting_provider().filter(~Q(pk__in=answered), created_at__lt=late - GIVE_UP_AFTER)
    for payment in payments.order_by("pk").select_related("order"):
        yield _(
            "Commande %(number)s\u00a0: le règlement de %(amount)s commencé le %(date)s attend toujours la réponse de son"
            " prestataire (%(provider)s). Sous «\u00a0Règlements\u00a0», sur sa page, pressez «\u00a0Demander au prestataire\u00a0»\u00a0; sans réponse,"
            " cherchez-le chez le prestataire et prévenez l’exploitation."
        ) % {
            "number": payment.order.number,
            "amount": euros(payment.amount),
            "date": moment(payment.created_at),
            "provider": payment.provider,
        }
