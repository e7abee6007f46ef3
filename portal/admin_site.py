"""The administration site: Django's own, for validated staff only, in the platform's words.

For everybody else it does not exist: strangers are led to our log-in, citizens read that the page was not found. Tables
that do not say who may reach them (accounts.admin_base.ScopedAdmin) are not shown at all.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models.base import ModelBase
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, path, reverse, reverse_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect

from accounts.admin_base import ScopedAdmin, Todo, staff, works_here
from accounts.middleware import open_to_pending
from accounts.models import Terms

View = Callable[..., HttpResponse]

# The order of the menu: what is used daily first.
APPS = ("accounts", "families", "services", "bookings", "checkout", "wallet", "outbox")
MODELS = (
    *("user", "subscription", "beneficiary", "enrolment", "booking", "absence", "waitinglistentry", "closure"),
    *("ticket", "ticketuse"),
    *("closing", "correction", "statement", "settlement", "verification", "wallet"),
    *("order", "payment", "document", "series", "invoicerun", "regie"),
    *(
        "service",
        "activity",
        "openday",
        "tariff",
        "slot",
        "busline",
        "accessprofile",
        "category",
        "deadline",
        "absencerule",
        "schoolholiday",
        "school",
    ),
    *("commune", "staffrole", "controller", "terms"),
)


class ScopedAutocomplete(AutocompleteJsonView):
    """Django's view, for relations that a form of this person's really offers."""

    model_admin: ScopedAdmin

    def process_request(self, request: HttpRequest) -> Any:
        term, model_admin, source_field, to_field_name = super().process_request(request)  # type: ignore[misc]
        source_admin = self.admin_site._registry.get(source_field.model)  # type: ignore[attr-defined]
        if (
            source_admin is None
            or source_field.name not in source_admin.get_autocomplete_fields(request)
            or not (source_admin.has_add_permission(request) or source_admin.has_change_permission(request))
        ):
            raise PermissionDenied
        return term, model_admin, source_field, to_field_name

    def get_queryset(self) -> Any:
        rows = super().get_queryset()
        related = self.model_admin.label_related
        return rows.select_related(*related) if related else rows

    def serialize_result(self, obj: Any, to_field_name: str) -> dict[str, str]:
        return {"id": str(getattr(obj, to_field_name)), "text": self.model_admin.label_for(obj)}


class PortalAdminSite(AdminSite):
    site_header = _("Administration")
    site_title = _("Administration – Plateforme citoyenne")
    index_title = _("À valider")
    index_template = "admin/index.html"
    enable_nav_sidebar = False  # the lists need the width; the home page is the menu
    empty_value_display = "–"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Packages register tables of their own (groups, e-mail addresses…): nothing is shown that is not scoped."""
        if admin_class is None or not issubclass(admin_class, ScopedAdmin):
            return
        super().register(model_or_iterable, admin_class, **options)

    def unregister(self, model_or_iterable: Any) -> None:
        """A package that replaces its own page first takes it away: it may never have been there."""
        models: Iterable[Any] = [model_or_iterable] if isinstance(model_or_iterable, ModelBase) else model_or_iterable
        for model in models:
            if self.is_registered(model):
                super().unregister(model)

    # -- Who comes in --

    def has_permission(self, request: HttpRequest) -> bool:
        return works_here(request.user)

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Guard a view: strangers log in first, anybody who does not work here (or not with this table) gets a 404."""
        table = getattr(view, "__self__", None)
        return self.guard(table if isinstance(table, ModelAdmin) else None, cacheable=cacheable)(view)

    def guard(self, table: "ModelAdmin[Any] | None", *, cacheable: bool = False) -> Callable[[View], View]:
        """The guard of one table's views (None: of the whole site's)."""

        def decorate(view: View) -> View:
            @functools.wraps(view)
            def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
                if not request.user.is_authenticated:
                    return redirect_to_login(request.get_full_path(), reverse("account_login"))
                if not self.has_permission(request):
                    raise Http404
                if table is not None and not table.has_view_or_change_permission(request):
                    raise Http404
                return view(request, *args, **kwargs)

            protected = csrf_protect(guarded)
            return protected if cacheable else never_cache(protected)

        return decorate

    def get_urls(self) -> list[Any]:
        # Django's « voir sur le site » leads to any row of any table; the pages of ours that have such a link name
        # their address themselves.
        urls = [entry for entry in super().get_urls() if getattr(entry, "name", "") != "view_on_site"]
        urls.insert(0, path("r/<path:rest>", self.admin_view(self.nothing_here), name="view_on_site"))
        _answer_for_themselves(urls)
        return urls

    def nothing_here(self, request: HttpRequest, rest: str) -> HttpResponse:
        raise Http404

    # -- One account, one place to log in --

    @open_to_pending
    @login_not_required
    def login(self, request: HttpRequest, extra_context: Any = None) -> Any:
        if self.has_permission(request):
            return redirect("admin:index")
        if request.user.is_authenticated:
            raise Http404
        return redirect_to_login(request.GET.get("next", reverse("admin:index")), reverse("account_login"))

    def logout(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return redirect("account_logout")

    def password_change(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return redirect("account_change_password")

    def password_change_done(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return redirect("account_change_password")

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        view: View = ScopedAutocomplete.as_view(admin_site=self)  # type: ignore[assignment]
        return view(request)

    # -- Home and menu --

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        tables = sorted(self._registry.values(), key=lambda table: _rank(MODELS, table.opts.model_name or ""))
        todo = [item for table in tables for item in table.todo(request)]  # type: ignore[attr-defined]
        todo += _texts_to_publish(request)
        context = {
            "todo": [item for item in todo if item.count],
            "todo_done": [item for item in todo if not item.count],
        }
        return super().index(request, {**context, **(extra_context or {})})

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = super().get_app_list(request, app_label)
        apps.sort(key=lambda app: _rank(APPS, app["app_label"]))
        for app in apps:
            app["models"].sort(key=lambda model: _rank(MODELS, model["object_name"].lower()))
            for model in app["models"]:
                # The pages of a table that are no list of its rows: the day's journal beside the closings.
                model["pages"] = self._registry[model["model"]].pages(request)  # type: ignore[attr-defined]
        return apps


def _texts_to_publish(request: HttpRequest) -> list[Todo]:
    """The legal texts that a new installation still lacks; only operators can write them."""
    if not staff(request).is_operator:
        return []
    lacking = len(Terms.Kind) - len(Terms.objects.in_force(Terms.Kind))
    words = _("Texte légal à publier") if lacking == 1 else _("Textes légaux à publier")
    return [Todo(str(words), lacking, reverse("admin:accounts_terms_changelist"))]


def _rank(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _answer_for_themselves(urls: Iterable[URLPattern | URLResolver]) -> None:
    """Our guard answers whoever asks for these pages; the middlewares that send people elsewhere let them through."""
    for entry in urls:
        if isinstance(entry, URLResolver):
            _answer_for_themselves(entry.url_patterns)
            continue
        if inspect.ismethod(entry.callback):  # the log-in page, which says so itself
            continue
        open_to_pending(entry.callback)
        entry.callback.login_url = reverse_lazy("account_login")  # type: ignore[attr-defined]
