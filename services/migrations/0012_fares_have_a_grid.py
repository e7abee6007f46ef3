"""Each service's fares of one period and one decision become a grid."""

from typing import Any

from django.db import migrations


def fares_get_their_grids(apps: Any, _editor: Any) -> None:
    grids, tariffs = apps.get_model("services", "TariffGrid"), apps.get_model("services", "Tariff")
    found: dict[tuple[Any, ...], Any] = {}
    for row in tariffs.objects.select_related("slot__activity").order_by("valid", "pk"):
        service_id = row.slot.activity.service_id
        key = (service_id, str(row.valid), row.decision)
        if key not in found:
            number = sum(known[0] == service_id for known in found) + 1
            name = "Tarifs" if number == 1 else f"Tarifs ({number})"
            found[key] = grids.objects.create(service_id=service_id, name=name, decision=row.decision, valid=row.valid)
        tariffs.objects.filter(pk=row.pk).update(grid=found[key])


def history_names_them(_apps: Any, editor: Any) -> None:
    """What was kept of fares tells their grid too: the column becomes mandatory, there as here.

    The history refuses every change; this adds what it could not know. A fare deleted since has no grid: 0.
    """
    editor.execute("ALTER TABLE services_tariffevent DISABLE TRIGGER USER")
    editor.execute(
        "UPDATE services_tariffevent e SET grid_id = coalesce("
        "(SELECT t.grid_id FROM services_tariff t WHERE t.id = e.pgh_obj_id), 0) WHERE grid_id IS NULL"
    )
    editor.execute("ALTER TABLE services_tariffevent ENABLE TRIGGER USER")


class Migration(migrations.Migration):
    dependencies = [("services", "0011_tariff_grids")]

    operations = [
        migrations.RunPython(fares_get_their_grids, migrations.RunPython.noop),
        migrations.RunPython(history_names_them, migrations.RunPython.noop),
    ]
