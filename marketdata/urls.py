from django.urls import path

from marketdata import views

app_name = "marketdata"
urlpatterns = [
    path("", views.assets, name="assets"),
    path("<str:symbol>/", views.asset, name="asset"),
    path("<str:symbol>/figure.json", views.figure, name="figure"),
    path("<str:symbol>/candles.csv", views.candles_csv, name="candles"),
    path("<str:symbol>/refresh/", views.refresh, name="refresh-asset"),
]
