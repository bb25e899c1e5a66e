"""Reports for people: one self-contained HTML file, no script, every foreign string escaped."""
