from django.urls import path

from bookings.tickets import views

urlpatterns = [
    path("agents/billets/", views.checks, name="ticket_checks"),
    path("agents/billets/hors-ligne.js", views.worker, name="ticket_check_worker"),
    path("agents/billets/<int:pk>/", views.check, name="ticket_check"),
    path("agents/billets/<int:pk>/liste/", views.checklist, name="ticket_checklist"),
    path("agents/billets/<int:pk>/passages/", views.passages, name="ticket_passages"),
]
