from django.urls import path

from universes.views import changes, lists, universe, upkeep

app_name = "universes"
urlpatterns = [
    path("", lists.universes, name="universes"),
    path("new/", lists.new_universe, name="new"),
    path("<int:pk>/", universe.universe, name="universe"),
    path("<int:pk>/add/", universe.add_members, name="add"),
    path("<int:pk>/remove/", universe.remove_members, name="remove"),
    path("<int:pk>/edit/", changes.edit_universe, name="edit"),
    path("<int:pk>/delete/", changes.delete_universe, name="delete"),
    path("<int:pk>/refresh/", upkeep.refresh_universe, name="refresh"),
    path("<int:pk>/backfill/", upkeep.backfill_universe, name="backfill"),
]
