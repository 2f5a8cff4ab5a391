"""A result's charts as Plotly figures, at the resolution of the screen that asks, and the sentence under each."""
