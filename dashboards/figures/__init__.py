"""Figures as pure functions: a frame in, a Plotly figure out. No reading, no pages."""
