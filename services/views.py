"""The catalogue: « Activités », the communes, the univers, a service. All of it open to visitors without an account."""

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef, Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounts.models import Commune
from portal.common.formats import enumeration
from services import absences, catalogue
from services.catalogue import CatalogueForm, Listing
from services.models import Activity, Category, Service, Subscription


@login_not_required
@require_safe
def activities(request: HttpRequest) -> HttpResponse:
    """« Activités »: everything that can be booked, searched by commune and by words."""
    services = Service.objects.filter(is_active=True, activities__is_active=True)
    form = CatalogueForm(
        request.GET,
        sorts=catalogue.ACTIVITIES,
        search=_("Commune ou activité"),
        filters={"commune": catalogue.commune_choice(services), "univers": catalogue.univers_choice()},
    )
    rows = Activity.objects.open().filter(
        catalogue.matching_activities(form.chosen["q"]), catalogue.of_commune(form.chosen["commune"], "service__")
    )
    if form.chosen["univers"]:
        rows = rows.filter(service__category__slug=form.chosen["univers"])
    listing = Listing(form, catalogue.offered(rows))
    # Who looks for a commune that offers nothing yet is told so, rather than that nothing was found.
    asked = catalogue.matching_communes(form.chosen["q"])
    quiet = Commune.objects.filter(asked).first() if asked and not listing.total else None
    return render(request, "services/activities.html", _offers(request, listing) | {"quiet": quiet})


@login_not_required
@require_safe
def communes(request: HttpRequest) -> HttpResponse:
    """The communes of the agglomération, and how much each offers."""
    form = CatalogueForm(request.GET, sorts=catalogue.COMMUNES, search=_("Nom de la commune"))
    rows = catalogue.communes().filter(catalogue.matching_communes(form.chosen["q"]))
    return render(request, "services/communes.html", {"listing": Listing(form, rows)})


@login_not_required
@require_safe
def commune(request: HttpRequest, insee_code: str) -> HttpResponse:
    """What one commune offers, by univers."""
    found = get_object_or_404(Commune, insee_code=insee_code)
    form = CatalogueForm(request.GET, sorts=catalogue.ACTIVITIES_OF_A_COMMUNE)
    rows = Activity.objects.open().filter(service__commune=found)
    context = _offers(request, Listing(form, catalogue.offered(rows)))
    return render(request, "services/commune.html", context | {"commune": found})


@login_not_required
@require_safe
def category(request: HttpRequest, slug: str) -> HttpResponse:
    """The services of one univers, by commune."""
    univers = get_object_or_404(Category, slug=slug)
    services = univers.services.filter(is_active=True)
    form = CatalogueForm(
        request.GET,
        sorts=catalogue.SERVICES,
        search=_("Commune, service ou activité"),
        filters={"commune": catalogue.commune_choice(services)},
    )
    rows = services.filter(catalogue.matching_services(form.chosen["q"]), catalogue.of_commune(form.chosen["commune"]))
    rows = rows.select_related("commune").prefetch_related(
        Prefetch("activities", Activity.objects.filter(is_active=True))
    )
    return render(
        request,
        "services/category.html",
        {"category": univers, "univers": slug, "listing": Listing(form, rows)},
    )


@login_not_required
@require_safe
def service(request: HttpRequest, slug: str) -> HttpResponse:
    """What can be booked in one service, and whether this person may."""
    sold = Activity.objects.filter(service=OuterRef("pk"), is_active=True)
    calendars = sold.filter(kind=Activity.Kind.CALENDAR)
    found: Any = get_object_or_404(
        Service.objects.select_related("commune", "category", "absence_rule").annotate(
            calendars=ArraySubquery(calendars.order_by("position", "name").values("name")),
            sells_others=Exists(sold.exclude(kind=Activity.Kind.CALENDAR)),
        ),
        slug=slug,
        is_active=True,
    )
    form = CatalogueForm(request.GET, sorts=catalogue.ACTIVITIES_OF_A_SERVICE)
    listing = Listing(form, catalogue.offered(found.activities.filter(is_active=True)))
    requests = catalogue.requests_of(request.user, [found.pk])
    return render(
        request,
        "services/service.html",
        {
            "service": found,
            "univers": found.category.slug,
            "listing": listing,
            "offers": catalogue.offers(listing.page, requests),
            "absences": _absences(found),
            "waiting": any(row.status == Subscription.Status.PENDING for row in requests),
            "may_book": any(row.status == Subscription.Status.APPROVED for row in requests),
        },
    )


def _absences(service: Any) -> str:
    """What absences give back; tickets and passes have none, and beside them the sentence names what it is about."""
    if not service.calendars:
        return ""
    words = absences.sentence(service.absence_rule)
    if service.sells_others:
        names = enumeration(f"«\u00a0{name}\u00a0»" for name in service.calendars)
        words += " " + _("Cela vaut pour %s.") % names
    return words


def _offers(request: HttpRequest, listing: Listing[Activity]) -> dict[str, Any]:
    """A list of activities of several services, with what this person may book among them."""
    requests = catalogue.requests_of(request.user, {row.service_id for row in listing.page})
    return {"listing": listing, "offers": catalogue.offers(listing.page, requests)}
