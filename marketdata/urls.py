from django.urls import path

from marketdata.views import assets

app_name = "marketdata"
urlpatterns = [
    path("assets/", assets.assets, name="assets"),
    path("assets/<str:symbol>/", assets.asset, name="asset"),
    path("assets/<str:symbol>/figure.json", assets.figure, name="figure"),
    path("assets/<str:symbol>/candles.csv", assets.candles_csv, name="candles"),
    path("assets/<str:symbol>/refresh/", assets.refresh, name="refresh-asset"),
]
