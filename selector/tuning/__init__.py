"""Fine-tuning under a budget: data, recipe, activation cache, trainer, search, winner."""
