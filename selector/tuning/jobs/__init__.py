"""What worker processes do: screen a backbone, fill a cache, train a trial, make the winner. Each needs torch."""
