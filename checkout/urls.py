from django.urls import path

from checkout.views import booking, cancelling, cart, feed, orders, providers, reservations, steps, tickets, wallet

urlpatterns = [
    path("services/<slug:service>/<slug:slug>/", booking.activity, name="activity"),
    path("panier/", cart.cart, name="cart"),
    path("panier/retirer/", cart.remove, name="cart_remove"),
    path("panier/reprendre/", cart.recover, name="cart_recover"),
    path("commande/<slug:reference>/abandonner/", cart.abandon, name="order_abandon"),
    path("commande/recapitulatif/", steps.summary, name="checkout_summary"),
    path("commande/connexion/", steps.login, name="checkout_login"),
    path("commande/adresse/", steps.address, name="checkout_address"),
    path("commande/conditions/", steps.terms, name="checkout_terms"),
    path("commande/paiement/", steps.payment, name="checkout_payment"),
    path("paiement/<slug:provider>/retour/", providers.back, name="payment_return"),
    path("paiement/<slug:provider>/notification/", providers.notification, name="payment_notification"),
    path("mon-compte/commandes/", orders.orders, name="orders"),
    path("mon-compte/commandes/<slug:reference>/", orders.order, name="order"),
    path("mon-compte/reservations/", reservations.reservations, name="reservations"),
    path("mon-compte/reservations/<int:pk>/", reservations.reservation, name="reservation"),
    path("mon-compte/reservations/agenda/", feed.feed, name="feed"),
    path("agenda/<str:key>.ics", feed.feed_file, name="feed_file"),
    path("mon-compte/reservations/annuler/", cancelling.cancel, name="reservations_cancel"),
    path("mon-compte/e-billets/", tickets.tickets, name="tickets"),
    path("mon-compte/e-billets/<int:pk>/", tickets.ticket, name="ticket"),
    path("mon-compte/e-billets/<int:pk>/billet.pdf", tickets.ticket_pdf, name="ticket_pdf"),
    path("mon-compte/e-billets/<int:pk>/annuler/", tickets.ticket_cancel, name="ticket_cancel"),
    path("mon-compte/porte-monnaie/", wallet.wallet, name="wallet"),
    path("mon-compte/porte-monnaie/depot/", wallet.deposit, name="wallet_deposit"),
]
