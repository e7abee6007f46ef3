from django.apps import AppConfig


class BookingsConfig(AppConfig):
    name = "bookings"
    verbose_name = "Réservations"

    def ready(self) -> None:
        from bookings.closures.calendar import closings
        from services.calendars import CLOSINGS

        CLOSINGS.append(closings)
