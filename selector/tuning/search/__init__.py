"""The search: Optuna proposes, worker processes train, the deadline is kept."""
