"""Recipes: named configurations, and the published tables whose rows they are."""
