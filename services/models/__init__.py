"""What communes offer: services, who may use them, activities, their slots, prices, rules and open days."""

from services.models.absences import AbsenceRule
from services.models.access import AccessProfile, Subscription
from services.models.bus import BusLine, BusStop
from services.models.calendar import OpenDay, SchoolHoliday
from services.models.catalogue import AGGLOMERATION, Activity, Category, Service, Slot
from services.models.patterns import ActivityPeriod
from services.models.rules import MINUTES_OF_DAY, Deadline
from services.models.schools import Classroom, Level, School
from services.models.tariffs import Tariff, TariffGrid, everybody

__all__ = [
    "AGGLOMERATION",
    "MINUTES_OF_DAY",
    "AbsenceRule",
    "AccessProfile",
    "Activity",
    "ActivityPeriod",
    "BusLine",
    "BusStop",
    "Category",
    "Classroom",
    "Deadline",
    "Level",
    "OpenDay",
    "School",
    "SchoolHoliday",
    "Service",
    "Slot",
    "Subscription",
    "Tariff",
    "TariffGrid",
    "everybody",
]
