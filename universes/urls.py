from django.urls import path

from universes.views import changes, exports, history, imports, lists, members, universe, upkeep

app_name = "universes"
urlpatterns = [
    path("", lists.universes, name="universes"),
    path("new/", lists.new_universe, name="new"),
    path("<int:pk>/", universe.universe, name="universe"),
    path("<int:pk>/members.csv", universe.members_csv, name="members-csv"),
    path("<int:pk>/add/", universe.add_members, name="add"),
    path("<int:pk>/remove/", universe.remove_members, name="remove"),
    path("<int:pk>/members/<str:symbol>/", members.member, name="member"),
    path("<int:pk>/move/", members.move_member, name="move"),
    path("<int:pk>/tag/", members.tag_members, name="tag"),
    path("<int:pk>/edit/", changes.edit_universe, name="edit"),
    path("<int:pk>/duplicate/", changes.duplicate_universe, name="duplicate"),
    path("<int:pk>/archive/", changes.archive_universe, name="archive"),
    path("<int:pk>/delete/", changes.delete_universe, name="delete"),
    path("<int:pk>/undelete/", changes.undelete_universe, name="undelete"),
    path("<int:pk>/share/", changes.share_universe, name="share"),
    path("<int:pk>/unshare/", changes.unshare_universe, name="unshare"),
    path("<int:pk>/publish/", changes.publish_universe, name="publish"),
    path("<int:pk>/history/", history.history, name="history"),
    path("<int:pk>/history.csv", history.history_csv, name="history-csv"),
    path("<int:pk>/refresh/", upkeep.refresh_universe, name="refresh"),
    path("<int:pk>/backfill/", upkeep.backfill_universe, name="backfill"),
    path("<int:pk>/export.<str:form>", exports.export, name="export"),
    path("<int:pk>/import/", imports.import_list, name="import"),
    path("<int:pk>/lists/<int:list_pk>/", imports.symbol_list, name="list"),
    path("<int:pk>/lists/<int:list_pk>/rows/<int:row>/", imports.decide_row, name="list-row"),
    path("<int:pk>/lists/<int:list_pk>/decide/", imports.decide_group, name="list-decide"),
    path("<int:pk>/lists/<int:list_pk>/ask/", imports.ask_list, name="list-ask"),
    path("<int:pk>/lists/<int:list_pk>/confirm/", imports.confirm_list, name="list-confirm"),
    path("<int:pk>/lists/<int:list_pk>/undo/", imports.undo_list, name="list-undo"),
    path("<int:pk>/lists/<int:list_pk>/reopen/", imports.reopen_list, name="list-reopen"),
]
