"""Measuring: protocol, worker processes, memory, training cost."""
