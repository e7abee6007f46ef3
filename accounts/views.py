"""« Mon compte »: where the account stands, personal details, addresses, supporting documents; the legal texts."""

from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import actions
from accounts.documents import add_document, delete_document
from accounts.downloads import private_download
from accounts.forms import AddressForm, DocumentForm, PersonalDetailsForm
from accounts.middleware import open_to_pending, signup_step
from accounts.models import Address, SupportingDocument, Terms, User
from accounts.reminders import account_of, stop_reminders
from portal.common.coming_back import page_of_ours
from portal.common.errors import Refused

get_or_post = require_http_methods(["GET", "HEAD", "POST"])


def current_user(request: HttpRequest) -> User:
    """Who is signed in; LoginRequiredMiddleware has seen to it that somebody is."""
    return cast(User, request.user)


# --- Where the account stands ----------------------------------------------------------------------------------------


@open_to_pending
@require_safe
def account_home(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    if user.is_approved:
        return render(request, "accounts/home.html")
    return render(request, "accounts/home_waiting.html", _progress(user))


@signup_step
@require_safe
def signup_done(request: HttpRequest) -> HttpResponse:
    """The confirmation after the third step: what happens next."""
    user = current_user(request)
    if user.completed_at is None or user.is_approved:
        return redirect("account_home")
    return render(request, "accounts/signup_done.html", _progress(user))


def _progress(user: User) -> dict[str, object]:
    """How far the three steps are. The apps above are reached by the account's own relations, never imported."""
    return {
        "beneficiaries": user.filiations.filter(ended_at=None).count(),
        "requests": user.subscriptions.count(),
        "documents": SupportingDocument.objects.of(user).count(),
    }


# --- Personal details ------------------------------------------------------------------------------------------------


@signup_step
@get_or_post
def personal_details(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    form = PersonalDetailsForm.of(user, request.POST if request.method == "POST" else None)
    if form.is_valid():
        with transaction.atomic():
            actions.update_details(user=user, details=form.details(), by=user)
            actions.set_residence(user=user, commune=form.cleaned_data["commune"])
        messages.success(request, _("Vos informations personnelles sont enregistrées."))
        return redirect("personal_details" if user.is_approved else "account_home")
    return render(request, "accounts/personal_details.html", {"form": form})


# --- Addresses -------------------------------------------------------------------------------------------------------


@require_safe
def addresses(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/addresses.html", {"addresses": Address.objects.of(current_user(request))})


@get_or_post
def address_edit(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """Add an address, or change one; `next` leads back to the page that sent here (an order)."""
    user = current_user(request)
    address = get_object_or_404(Address.objects.of(user), pk=pk) if pk else None
    back = _safe_next(request) or reverse("addresses")
    form = AddressForm(request.POST or None, instance=address, initial={"city": "" if address else _usual_city(user)})
    if form.is_valid():
        try:
            actions.save_address(user=user, address=address, values=form.cleaned_data, by=user)
        except Refused as refused:
            form.add_error(None, list(refused.messages))
        else:
            messages.success(request, _("L’adresse est enregistrée."))
            return redirect(back)
    context = {"form": form, "adding": address is None, "back": back, "account_section": "addresses"}
    return render(request, "accounts/address_form.html", context)


def _usual_city(user: User) -> str:
    return user.commune.name if user.commune else ""


def _safe_next(request: HttpRequest) -> str:
    """The page of this site to go back to, or an empty text."""
    return page_of_ours(request, request.POST.get("next") or request.GET.get("next") or "")


@require_POST
def address_default(request: HttpRequest, pk: int) -> HttpResponse:
    user = current_user(request)
    address = get_object_or_404(Address.objects.of(user), pk=pk)
    actions.save_address(user=user, address=address, values={"is_default": True}, by=user)
    messages.success(request, _("« %s » est maintenant votre adresse principale.") % address.label)
    return redirect("addresses")


@get_or_post
def address_delete(request: HttpRequest, pk: int) -> HttpResponse:
    user = current_user(request)
    address = get_object_or_404(Address.objects.of(user), pk=pk)
    if request.method == "POST":
        actions.delete_address(address=address, by=user)
        messages.success(request, _("L’adresse « %s » est supprimée.") % address.label)
        return redirect("addresses")
    return render(request, "accounts/address_delete.html", {"address": address, "account_section": "addresses"})


# --- Supporting documents --------------------------------------------------------------------------------------------


@open_to_pending
@get_or_post
def documents(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    form = DocumentForm(request.POST, request.FILES) if request.method == "POST" else DocumentForm()
    if form.is_bound and form.is_valid():
        try:
            document = add_document(
                user=user, kind=form.cleaned_data["kind"], upload=form.cleaned_data["file"], by=user
            )
        except Refused as refused:
            form.add_error("file", list(refused.messages))
        else:
            messages.success(request, _("« %s » est bien arrivé.") % document.name)
            return redirect("documents")
    return render(request, "accounts/documents.html", {"form": form, "documents": SupportingDocument.objects.of(user)})


@open_to_pending
@require_safe
def document_download(request: HttpRequest, pk: int) -> FileResponse:
    """The owner's document, or one of a person whose file the agent's commune holds; a stranger finds nothing."""
    user = current_user(request)
    readable = SupportingDocument.objects.of(user)
    if user.is_staff and user.is_approved:
        readable |= SupportingDocument.objects.visible_to(user)
    document = get_object_or_404(readable, pk=pk)
    return private_download(document.file, name=document.name, content_type=document.content_type)


@open_to_pending
@get_or_post
def document_delete(request: HttpRequest, pk: int) -> HttpResponse:
    user = current_user(request)
    document = get_object_or_404(SupportingDocument.objects.of(user), pk=pk)
    if request.method == "POST":
        delete_document(document=document, by=user)
        messages.success(request, _("« %s » est supprimé.") % document.name)
        return redirect("documents")
    return render(request, "accounts/document_delete.html", {"document": document, "account_section": "documents"})


# --- Legal texts -----------------------------------------------------------------------------------------------------


@login_not_required
@require_safe
def terms(request: HttpRequest, kind: str) -> HttpResponse:
    if kind not in Terms.Kind.values:
        raise Http404
    try:
        text = Terms.objects.all().current(Terms.Kind(kind))
    except Terms.DoesNotExist as error:
        raise Http404 from error
    return render(request, "accounts/terms.html", {"terms": text})


# --- Reminders -------------------------------------------------------------------------------------------------------


@login_not_required
@get_or_post
def reminders_stop(request: HttpRequest, key: str) -> HttpResponse:
    """The link of a reminder: asks (GET), then stops them (POST). Its key is all that is needed, and opens nothing else."""
    user = account_of(key)
    if user is None:
        raise Http404
    if request.method == "POST":
        stop_reminders(user=user)
        return redirect("reminders_stop", key)
    return render(request, "accounts/reminders_stop.html", {"wanted": user.reminders})
