"""Addresses of the account: those of the guides (seeds 000 to 003), with allauth's own names for its pages."""

from allauth.account import views as allauth_views
from django.urls import path, re_path

from accounts import auth_views, views

urlpatterns = [
    path("inscription/", auth_views.signup, name="account_signup"),
    path("inscription/verification/", allauth_views.email_verification_sent, name="account_email_verification_sent"),
    re_path(r"^inscription/verification/(?P<key>[-:\w]+)/$", auth_views.confirm_email, name="account_confirm_email"),
    path("inscription/terminee/", views.signup_done, name="signup_done"),
    path("connexion/", auth_views.login, name="account_login"),
    path("connexion/compte-ferme/", allauth_views.account_inactive, name="account_inactive"),
    path("deconnexion/", allauth_views.logout, name="account_logout"),
    path("recuperation-mot-de-passe/", auth_views.password_reset, name="account_reset_password"),
    path("recuperation-mot-de-passe/envoye/", allauth_views.password_reset_done, name="account_reset_password_done"),
    path(
        "recuperation-mot-de-passe/termine/",
        allauth_views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    re_path(
        r"^recuperation-mot-de-passe/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        auth_views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path("conditions/<slug:kind>/", views.terms, name="terms"),
    path("mon-compte/", views.account_home, name="account_home"),
    path("mon-compte/informations/", views.personal_details, name="personal_details"),
    path("mon-compte/mot-de-passe/", auth_views.password_change, name="account_change_password"),
    path("mon-compte/adresses/", views.addresses, name="addresses"),
    path("mon-compte/adresses/ajouter/", views.address_edit, name="address_add"),
    path("mon-compte/adresses/<int:pk>/", views.address_edit, name="address_edit"),
    path("mon-compte/adresses/<int:pk>/principale/", views.address_default, name="address_default"),
    path("mon-compte/adresses/<int:pk>/supprimer/", views.address_delete, name="address_delete"),
    path("rappels/<str:key>/", views.reminders_stop, name="reminders_stop"),
    path("mon-compte/pieces-justificatives/", views.documents, name="documents"),
    path("mon-compte/pieces-justificatives/<int:pk>/", views.document_download, name="document_download"),
    path("mon-compte/pieces-justificatives/<int:pk>/supprimer/", views.document_delete, name="document_delete"),
]
