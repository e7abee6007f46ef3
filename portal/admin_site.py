"""The administration site: Django's own, in the platform's words."""

from django.contrib.admin import AdminSite
from django.utils.translation import gettext_lazy as _


class PortalAdminSite(AdminSite):
    site_header = _("Administration – Plateforme citoyenne")
    site_title = _("Administration")
    index_title = _("À traiter")
    enable_nav_sidebar = True
