"""« Mes filiations », in the account and as the second step of signing up."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.contrib import messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.middleware import signup_step
from accounts.models import User
from accounts.views import current_user, get_or_post
from families import actions
from families.forms import FiliationForm, SchoolForm
from families.models import Enrolment, Filiation
from portal.common.coming_back import page_of_ours
from portal.common.errors import Refused
from services.school_calendar import years_to_declare

SECTION = {"account_section": "filiations"}  # the entry of the account's menu

# What an adult leaves behind by taking somebody off the account, in sentences; told by the apps above.
LEFT_BEHIND: list[Callable[[Filiation], list[str]]] = []


@require_safe
def filiations(request: HttpRequest) -> HttpResponse:
    known = Enrolment.objects.filter(year__in=years_to_declare()).select_related("school", "classroom").order_by("year")
    schools = Prefetch("beneficiary__enrolments", queryset=known, to_attr="known_schools")
    return render(request, "families/filiations.html", _people(_of(current_user(request)).prefetch_related(schools)))


@get_or_post
def filiation_add(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    form = FiliationForm(request.POST or None, initial={"last_name": user.last_name})
    if form.is_valid() and _add(request, form):
        return redirect("filiations")
    return render(request, "families/filiation_form.html", {"form": form, "adding": True, **SECTION})


@get_or_post
def filiation_edit(request: HttpRequest, pk: int) -> HttpResponse:
    user = current_user(request)
    filiation = get_object_or_404(_of(user), pk=pk)
    form = FiliationForm.of(filiation, request.POST or None)
    if form.is_valid():
        try:
            actions.update_filiation(filiation=filiation, **form.cleaned_data, by=user)
        except Refused as refused:
            form.add_error(None, list(refused.messages))
        else:
            messages.success(request, _("C’est enregistré."))
            return redirect("filiations")
    return render(request, "families/filiation_form.html", {"form": form, "adding": False, **SECTION})


@get_or_post
def filiation_school(request: HttpRequest, pk: int) -> HttpResponse:
    """In which school and class a child is: declared by the family."""
    user = current_user(request)
    filiation = get_object_or_404(_of(user), pk=pk)
    years = years_to_declare()
    known = {
        row.year: row
        for row in filiation.beneficiary.enrolments.filter(year__in=years).select_related("school", "classroom")
    }
    latest = known.get(years[0])
    initial = {
        "year": years[0],
        "school": latest and latest.school_id,
        "level": latest and latest.level,
        "classroom": latest and latest.classroom_id,
    }
    form = SchoolForm(request.POST or None, years=years, initial=initial)
    if form.is_valid():
        try:
            row = actions.declare_school(beneficiary=filiation.beneficiary, **form.cleaned_data, by=user)
        except Refused as refused:
            form.add_error(None, list(refused.messages))
        else:
            words = {"child": row.beneficiary.first_name, "place": row.place, "year": row.school_year}
            messages.success(request, _("C’est enregistré\u00a0: %(child)s, %(place)s, %(year)s.") % words)
            return redirect("filiations")
    return render(
        request,
        "families/filiation_school.html",
        {"form": form, "filiation": filiation, "known": list(known.values()), **SECTION},
    )


@get_or_post
def filiation_end(request: HttpRequest, pk: int) -> HttpResponse:
    user = current_user(request)
    filiation = get_object_or_404(_of(user), pk=pk)
    if request.method == "POST":
        actions.end_filiation(filiation=filiation, by=user)
        messages.success(request, _("%s ne fait plus partie de votre compte.") % filiation.beneficiary)
        return redirect("filiations")
    left = [sentence for tell in LEFT_BEHIND for sentence in tell(filiation)]
    return render(request, "families/filiation_end.html", {"filiation": filiation, "left": left, **SECTION})


@require_POST
def filiation_add_self(request: HttpRequest) -> HttpResponse:
    """« Réserver aussi pour moi-même »; then the page of ours on which it was pressed (field `back`), or else the filiations.

    What else was sent goes along in the address, so that nothing chosen on that page is lost.
    """
    _add_self(request)
    back = page_of_ours(request, request.POST.get("back", ""))
    if not back:
        return redirect("filiations")
    parts = urlsplit(back)
    chosen = QueryDict(parts.query, mutable=True)
    for name, values in request.POST.lists():
        if name not in {"back", "csrfmiddlewaretoken"}:
            chosen.setlist(name, values)  # what was chosen since takes the place of what the page came with
    return redirect(urlunsplit(parts._replace(query=chosen.urlencode())))


# --- Second step of signing up ---------------------------------------------------------------------------------------


@signup_step
@get_or_post
def signup_filiations(request: HttpRequest) -> HttpResponse:
    """Add beneficiaries one after the other, then go on; what was typed is kept whichever button is pressed."""
    user = current_user(request)
    if user.is_approved and user.completed_at is not None:
        return redirect("filiations")
    initial = {"last_name": user.last_name}
    form = FiliationForm(initial=initial)
    if request.method == "POST":
        if "self" in request.POST:
            _add_self(request)
            return redirect("signup_filiations")
        going_on = "continue" in request.POST
        form = FiliationForm(request.POST, initial=initial)
        if going_on and not form.has_changed():
            return redirect("signup_services")
        if form.is_valid() and _add(request, form):
            return redirect("signup_services" if going_on else "signup_filiations")
    return render(request, "families/signup_filiations.html", {"form": form, **_people(_of(user))})


@signup_step
@require_POST
def signup_filiation_end(request: HttpRequest, pk: int) -> HttpResponse:
    """« Retirer », without a page in between: nothing is booked yet, and adding again is as quick."""
    user = current_user(request)
    if user.is_approved:
        return redirect("filiations")
    filiation = get_object_or_404(_of(user), pk=pk)
    actions.end_filiation(filiation=filiation, by=user)
    messages.success(request, _("%s ne figure plus dans vos filiations.") % filiation.beneficiary)
    return redirect("signup_filiations")


def _people(links: QuerySet[Filiation]) -> dict[str, Any]:
    filiations = list(links)
    has_self = any(each.kind == Filiation.Kind.SELF for each in filiations)
    return {"filiations": filiations, "has_self": has_self}


def _of(user: User) -> QuerySet[Filiation]:
    return Filiation.objects.of(user).select_related("beneficiary")


def _add(request: HttpRequest, form: FiliationForm) -> bool:
    user = current_user(request)
    try:
        filiation = actions.add_filiation(user=user, **form.cleaned_data, by=user)
    except Refused as refused:
        form.add_error(None, list(refused.messages))
        return False
    messages.success(request, _("%s figure maintenant dans vos filiations.") % filiation.beneficiary)
    return True


def _add_self(request: HttpRequest) -> None:
    user = current_user(request)
    try:
        actions.add_self(user=user, by=user)
    except Refused as refused:
        messages.info(request, str(refused))
    else:
        messages.success(request, _("Vous pourrez réserver pour vous-même."))
