"""Labelled images: listing, reading, checking, splitting."""
