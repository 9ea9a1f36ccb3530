"""Reports: tables, plots and pages of finished runs."""
