"""What accounts need of ours beside allauth's tables; addresses that people have already become rows of those."""

from django.db import migrations, models


def adopt_addresses(apps, schema_editor):
    """As the addresses in use, not as confirmed ones: nobody has asked their mailboxes yet."""
    EmailAddress = apps.get_model("account", "EmailAddress")
    people = apps.get_model("core", "User").objects.using(schema_editor.connection.alias).exclude(email="")
    EmailAddress.objects.using(schema_editor.connection.alias).bulk_create(
        [EmailAddress(user_id=person.pk, email=person.email.lower(), primary=True) for person in people.iterator()],
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0002_row_security"),
        ("account", "0009_emailaddress_unique_primary_email"),
    ]
    operations = [
        migrations.AddField(
            model_name="user",
            name="awaits_confirmation",
            field=models.BooleanField(
                default=False,
                help_text="Signed up, and has yet to follow the link in the mail: until then no password lets this person in.",
            ),
        ),
        migrations.AddField(
            model_name="apitoken",
            name="hint",
            field=models.CharField(
                blank=True,
                help_text="The secret's last characters, to tell which one it is",
                max_length=4,
            ),
        ),
        migrations.RunPython(adopt_addresses, migrations.RunPython.noop),
    ]
