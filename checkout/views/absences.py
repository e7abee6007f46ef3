"""« Signaler une absence » : which days, what the rule gives back, why and with what proof; then what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.downloads import private_download
from accounts.models import User
from accounts.views import current_user
from bookings.absence_actions import Plan, add_proof, cancellable, plans, report_absence, reportable, withdraw_absence
from bookings.absences import Absence, AbsenceDay, AbsenceProof
from bookings.models import Booking
from checkout.forms import AbsenceForm, ProofForm, keys
from checkout.models import PAID, Order, OrderLine
from families.models import Beneficiary
from portal.common.errors import Refused
from portal.common.formats import of
from portal.common.money import ZERO
from services.absences import sentence

PAGE_SIZE = 20

get_or_post = require_http_methods(["GET", "HEAD", "POST"])


@dataclass(frozen=True)
class Answer:
    """What the rule of one service makes of the chosen days, in words and, for what the reader paid, in euros."""

    plan: Plan
    rule: str
    days: Sequence[tuple[Booking, bool, Decimal | None]]

    @property
    def back(self) -> Decimal:
        """What would come back to the reader, in euros."""
        return sum((price for _row, refundable, price in self.days if refundable and price), ZERO)


@get_or_post
def report(request: HttpRequest) -> HttpResponse:
    """Whose absence (`enfant`), of which bookings (`r`), then the recap with its form (POST sends it)."""
    user = current_user(request)
    sent = request.POST if request.method == "POST" else request.GET
    children = list(Beneficiary.objects.of(user))
    ids = keys(sent.getlist("r"))
    child = _chosen_child(children, sent.get("enfant", ""), ids)
    context: dict[str, object] = {"children": children, "child": child, "account_section": "absences"}
    if child is None:
        return render(request, "checkout/absence_child.html", context)
    rows = list(reportable(user, child))
    chosen = [row for row in rows if row.pk in ids]
    if not chosen:
        if ids and request.method == "POST":
            return _unreportable(request, user, ids)
        context |= {
            "rows": rows,
            "cancellable": list(cancellable(user, child)[:5]),
            "asked": "enfant" in sent and "jours" in sent,
        }
        return render(request, "checkout/absence_days.html", context)
    form = AbsenceForm(request.POST, request.FILES) if request.method == "POST" else AbsenceForm()
    if form.is_bound and form.is_valid():
        try:
            made = report_absence(
                user=user,
                beneficiary=child,
                ids=ids,
                kind=form.cleaned_data["kind"],
                note=form.cleaned_data["note"],
                upload=form.cleaned_data["file"],
                by=user,
            )
        except Refused as refusal:
            form.add_error(None, list(refusal.messages))
        else:
            messages.success(request, _("L’absence %s est signalée : le service est prévenu.") % of(child.first_name))
            return redirect("absence", made[0].pk) if len(made) == 1 else redirect("absences")
    context |= {
        "form": form,
        "kept_days": settings.PROOFS_KEPT_DAYS,
        "chosen": chosen,
        "answers": _answers(user, plans(chosen)),
    }
    return render(request, "checkout/absence_report.html", context)


def _chosen_child(children: Sequence[Beneficiary], asked: str, ids: set[int]) -> Beneficiary | None:
    """The child named, the one whose bookings are, or the only one."""
    named = keys([asked])
    if not named and ids:
        named = set(Booking.objects.filter(pk__in=ids, beneficiary__in=children).values_list("beneficiary", flat=True))
    found = [row for row in children if row.pk in named] if named else list(children)
    return found[0] if len(found) == 1 else None


def _unreportable(request: HttpRequest, user: User, ids: set[int]) -> HttpResponse:
    """A second press of the same button, or bookings that went away meanwhile."""
    done = Absence.objects.filter(reported_by=user, days__booking__in=ids, days__is_live=True).distinct()
    if done.exists():
        messages.info(request, _("C’est déjà fait : cette absence est signalée, une seule fois."))
    else:
        messages.error(request, _("Ces réservations ne peuvent plus être signalées absentes. Rien n’a été changé."))
    return redirect("absences")


def _answers(user: User, planned: Sequence[Plan]) -> list[Answer]:
    rows = [day.booking for plan in planned for day in plan.days]
    prices = _prices(user, rows)
    return [
        Answer(
            plan, sentence(plan.rule), [(day.booking, day.refundable, prices.get(day.booking.pk)) for day in plan.days]
        )
        for plan in planned
    ]


def _prices(user: User, rows: Sequence[Booking]) -> dict[int, Decimal]:
    """What this person paid for each booking, in euros, by key; what another paid is not theirs to read."""
    lines = OrderLine.objects.filter(booking__in=rows, order__user=user, order__status=Order.Status.PAID)
    return {pk: price for pk, price in lines.values_list("booking", PAID) if pk is not None}


# --- What became of them -----------------------------------------------------------------------------------------------


@require_safe
def absences(request: HttpRequest) -> HttpResponse:
    """The absences of the family's children, newest first."""
    rows = (
        Absence.objects.of(current_user(request))
        .select_related("beneficiary", "service")
        .prefetch_related("days__booking__open_day")
    )
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    listed = [(row, [day.booking.date for day in row.days.all()]) for row in page.object_list]
    return render(request, "checkout/absences.html", {"page": page, "listed": listed})


@get_or_post
def absence(request: HttpRequest, pk: int) -> HttpResponse:
    """One absence: its days, what the rule gives back, its proofs; POST adds a proof."""
    user = current_user(request)
    found = get_object_or_404(Absence.objects.of(user).select_related("beneficiary", "service", "reported_by"), pk=pk)
    form = ProofForm(request.POST, request.FILES) if request.method == "POST" else ProofForm()
    if form.is_bound and form.is_valid():
        try:
            sent = add_proof(absence=found, upload=form.cleaned_data["file"], by=user)
        except Refused as refusal:
            form.add_error(None if refusal.code in {"decided", "too_late"} else "file", list(refusal.messages))
        else:
            messages.success(request, _("« %s » est bien arrivé.") % sent.name)
            return redirect("absence", found.pk)
    days = list(found.days.select_related("booking__open_day__activity", "booking__slot"))
    prices = _prices(user, [day.booking for day in days])
    context = {
        "absence": found,
        "days": [(day.booking, day.refundable, prices.get(day.booking_id), _otherwise(found, day)) for day in days],
        "back": sum(
            (prices.get(day.booking_id, ZERO) for day in days if day.refundable and not _otherwise(found, day)), ZERO
        ),
        "proofs": AbsenceProof.objects.filter(absence=found, sent_by=user),
        "kept_days": settings.PROOFS_KEPT_DAYS,
        "form": form,
        "account_section": "absences",
    }
    return render(request, "checkout/absence.html", context)


def _otherwise(absence: Absence, day: AbsenceDay) -> str:
    """Why a day gives nothing back through this absence, whatever its rule: it was not accepted, or its booking ended
    before, and was paid back then."""
    if absence.status in (Absence.Status.REFUSED, Absence.Status.WITHDRAWN):
        return _("non remboursé")
    booking = day.booking
    if booking.status == Booking.Status.CANCELLED and booking.ended_reason != _("Absence justifiée"):
        return _("annulée avant : %s") % booking.ended_reason
    return ""


@require_POST
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Take an absence back."""
    user = current_user(request)
    found = get_object_or_404(Absence.objects.of(user), pk=pk)
    withdraw_absence(absence=found, by=user)
    messages.success(request, _("L’absence est retirée : l’enfant est de nouveau attendu."))
    return redirect("absence", found.pk)


@require_safe
def proof(request: HttpRequest, pk: int, proof: int) -> FileResponse:
    """A certificate, to the adult who sent it; the service's staff reads it in the administration."""
    user = current_user(request)
    found = get_object_or_404(AbsenceProof.objects.filter(sent_by=user, absence=pk, forgotten_at=None), pk=proof)
    return private_download(found.file, name=found.name, content_type=found.content_type)
