from django.apps import AppConfig


class ChronosConfig(AppConfig):
    """The roof: composed pages, and the commands that run the whole house."""

    name = "chronos"
    label = "chronos"

    def ready(self) -> None:
        from chronos import celery  # noqa: F401  makes it the application that `shared_task` binds to
