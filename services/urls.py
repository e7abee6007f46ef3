from django.urls import path

from services import views

urlpatterns = [
    path("univers/<slug:slug>/", views.category, name="category"),
    path("services/<slug:slug>/", views.service, name="service"),
]
