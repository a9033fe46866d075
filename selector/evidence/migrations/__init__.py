"""The store's schema, revision by revision. Run by `selector.evidence.database.migrate`, in one transaction."""
