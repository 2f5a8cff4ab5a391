from django.urls import path

from marketdata.views import assets, data, directory, quarantine, symbols, upkeep

app_name = "marketdata"
urlpatterns = [
    path("assets/", directory.assets, name="assets"),
    path("assets/validate/", symbols.validate, name="validate"),
    path("assets/<str:symbol>/", assets.asset, name="asset"),
    path("assets/<str:symbol>/figure.json", assets.figure, name="figure"),
    path("assets/<str:symbol>/candles.csv", assets.candles_csv, name="candles"),
    path("assets/<str:symbol>/keep/", directory.keep, name="keep"),
    path("assets/<str:symbol>/refresh/", assets.refresh, name="refresh-asset"),
    path("assets/<str:symbol>/backfill/", upkeep.backfill, name="backfill-asset"),
    path("assets/<str:symbol>/gaps/", upkeep.gaps_of, name="gaps"),
    path("assets/<str:symbol>/gaps/fill/", upkeep.fill_gaps, name="fill-gaps"),
    path("data/", data.data, name="data"),
    path("data/windows/", data.windows, name="windows"),
    path("data/quarantine/", quarantine.held, name="quarantine"),
    path("data/quarantine/decide/", quarantine.decide, name="decide"),
    path("data/chains/<str:asset_class>/", data.chain, name="chain"),
    path("data/providers/<str:provider>/", data.provider, name="provider"),
    path("data/providers/<str:provider>/key/", data.set_key, name="set-key"),
    path("data/providers/<str:provider>/key/forget/", data.forget_key, name="forget-key"),
]
