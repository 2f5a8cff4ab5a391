from django.urls import path

from universes import views

app_name = "universes"
urlpatterns = [
    path("", views.universes, name="universes"),
    path("new/", views.new_universe, name="new"),
    path("<int:pk>/", views.universe, name="universe"),
    path("<int:pk>/add/", views.add_members, name="add"),
    path("<int:pk>/remove/", views.remove_members, name="remove"),
    path("<int:pk>/edit/", views.edit_universe, name="edit"),
    path("<int:pk>/delete/", views.delete_universe, name="delete"),
    path("<int:pk>/refresh/", views.refresh_universe, name="refresh"),
    path("<int:pk>/backfill/", views.backfill_universe, name="backfill"),
]
