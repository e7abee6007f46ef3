"""The project's own app: its checks, and the administration site."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Plateforme citoyenne"

    def ready(self) -> None:
        from portal import checks  # noqa: F401  registers the system checks


class PortalAdminConfig(AdminConfig):
    default_site = "portal.admin_site.PortalAdminSite"
