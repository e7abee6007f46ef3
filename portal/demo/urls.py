from django.urls import path

from portal.demo import bank, views

urlpatterns = [
    path("courriels/", views.mailbox, name="demo_mailbox"),
    path("courriels/<int:pk>/", views.mail, name="demo_mail"),
    path("banque/", bank.pay, name="demo_bank"),
    path("banque/rembourser/", bank.refund, name="demo_bank_refund"),
    path("banque/etat/<slug:reference>/", bank.status, name="demo_bank_status"),
]
