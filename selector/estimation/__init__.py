"""Figures that cannot be measured here: latency elsewhere, accuracy before training, calibration."""
