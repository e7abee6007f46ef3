from django.urls import path

from services import views
from services.subscription_urls import subscription_patterns

urlpatterns = [
    path("activites/", views.activities, name="activities"),
    path("communes/", views.communes, name="communes"),
    path("communes/<slug:insee_code>/", views.commune, name="commune"),
    path("univers/<slug:slug>/", views.category, name="category"),
    path("services/<slug:slug>/", views.service, name="service"),
    *subscription_patterns,
]
