from django.db import migrations


class Migration(migrations.Migration):
    """A surcharge from zero up to the price says already that the price is not negative: these could never speak alone."""

    dependencies = [("checkout", "0032_till_gives_what_it_holds")]

    operations = [
        migrations.RemoveConstraint(model_name="cartline", name="cart_price_is_not_negative"),
        migrations.RemoveConstraint(model_name="orderline", name="line_price_is_not_negative"),
    ]
