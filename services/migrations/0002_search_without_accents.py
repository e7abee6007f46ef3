"""`unaccent`: whoever searches « benali » or « Rosieres » finds « Bénali » and « Rosières »."""

from typing import ClassVar

from django.contrib.postgres.operations import UnaccentExtension
from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("services", "0001_initial")]
    operations: ClassVar = [UnaccentExtension()]
