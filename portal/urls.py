"""The site's addresses; they are those of the guides (seeds 000 to 003)."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from portal import views

handler400 = "portal.views.bad_request"
handler404 = "portal.views.not_found"

urlpatterns = [
    path("", views.home, name="home"),
    path("sante/", views.health, name="health"),
    path("", include("accounts.urls")),
    path("", include("families.urls")),
    path("", include("services.urls")),
    path("", include("bookings.tickets.urls")),
    path("", include("checkout.urls")),
    path("admin/", admin.site.urls),
]

if settings.DEMO:
    urlpatterns.append(path("demo/", include("portal.demo.urls")))
if settings.DEMO or settings.DEBUG:
    from portal.gallery import gallery

    urlpatterns.append(path("composants/", gallery, name="gallery"))
