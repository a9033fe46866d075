"""What worker processes do: screen and time backbones, fill caches, train trials, make the winner. Each needs torch."""
