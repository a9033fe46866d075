"""What executes inference: one file a runtime, and the export."""
