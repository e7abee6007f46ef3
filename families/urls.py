from django.urls import path

from families import quotient_views, simulation_views, views

urlpatterns = [
    path("inscription/filiations/", views.signup_filiations, name="signup_filiations"),
    path("inscription/filiations/<int:pk>/retirer/", views.signup_filiation_end, name="signup_filiation_end"),
    path("mon-compte/filiations/", views.filiations, name="filiations"),
    path("mon-compte/filiations/ajouter/", views.filiation_add, name="filiation_add"),
    path("mon-compte/filiations/moi-meme/", views.filiation_add_self, name="filiation_add_self"),
    path("mon-compte/filiations/<int:pk>/", views.filiation_edit, name="filiation_edit"),
    path("mon-compte/filiations/<int:pk>/ecole/", views.filiation_school, name="filiation_school"),
    path("mon-compte/filiations/<int:pk>/retirer/", views.filiation_end, name="filiation_end"),
    path("services/<slug:slug>/simulation/", simulation_views.simulation, name="simulation"),
    path("mon-compte/quotient-familial/", quotient_views.quotient, name="quotient"),
    path("mon-compte/quotient-familial/annuler/", quotient_views.quotient_withdraw, name="quotient_withdraw"),
]
