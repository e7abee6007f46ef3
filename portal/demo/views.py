"""The demonstration's mailbox."""

from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from portal.demo.models import Mail


@login_not_required
@require_safe
def mailbox(request: HttpRequest) -> HttpResponse:
    """The e-mails that would have left, newest first."""
    page = Paginator(Mail.objects.all(), 25).get_page(request.GET.get("page"))
    return render(request, "demo/mailbox.html", {"page": page})


@login_not_required
@require_safe
def mail(request: HttpRequest, pk: int) -> HttpResponse:
    """One e-mail, its links ready to be followed."""
    return render(request, "demo/mail.html", {"mail": get_object_or_404(Mail, pk=pk)})
