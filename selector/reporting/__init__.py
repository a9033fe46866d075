"""Info objects → figures → page. Drawing decides nothing."""
