"""Figures with their provenance: metric registry, record, store, and which evidence wins."""
