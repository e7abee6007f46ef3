from django.urls import path

from services import views
from services.subscription_urls import subscription_patterns

urlpatterns = [
    path("univers/<slug:slug>/", views.category, name="category"),
    path("services/<slug:slug>/", views.service, name="service"),
    *subscription_patterns,
]
