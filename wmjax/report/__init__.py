"""Reports for people: one self-contained HTML file, nothing loaded from elsewhere, every foreign string escaped."""
