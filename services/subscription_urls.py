from django.urls import path

from services import subscription_views as views

subscription_patterns = [
    path("inscription/services/", views.signup_services, name="signup_services"),
    path("mon-compte/services/", views.subscriptions, name="subscriptions"),
    path("mon-compte/services/<int:pk>/redemander/", views.subscription_again, name="subscription_again"),
    path("mon-compte/services/<int:pk>/renouveler/", views.subscription_renew, name="subscription_renew"),
]
