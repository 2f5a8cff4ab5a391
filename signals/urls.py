from django.urls import path

from signals.views import changes, strategies

app_name = "signals"
urlpatterns = [
    path("strategies/", strategies.strategies, name="strategies"),
    path("strategies/new/", changes.new_strategy, name="new-strategy"),
    path("strategies/check/", changes.check_strategy, name="check-strategy"),
    path("strategies/<int:pk>/", strategies.strategy, name="strategy"),
    path("strategies/<int:pk>/edit/", changes.edit_strategy, name="edit-strategy"),
    path("strategies/<int:pk>/duplicate/", changes.duplicate_strategy, name="duplicate-strategy"),
    path("strategies/<int:pk>/archive/", changes.archive_strategy, name="archive-strategy"),
    path("strategies/<int:pk>/delete/", changes.delete_strategy, name="delete-strategy"),
    path("strategies/<int:pk>/undelete/", changes.undelete_strategy, name="undelete-strategy"),
]
