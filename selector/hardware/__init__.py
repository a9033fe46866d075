"""Hardware profiles, and what this machine is."""
