from django.apps import AppConfig
from django.contrib.admin import apps as admin
from django.utils.module_loading import autodiscover_modules


class CoreConfig(AppConfig):
    default = True
    name = "chronos.core"
    label = "core"

    def ready(self) -> None:
        autodiscover_modules("jobs")  # each app declares its kinds of long work there


class CurationConfig(admin.AdminConfig):
    default = False
    default_site = "chronos.core.curation.CurationSite"
