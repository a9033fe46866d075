"""What a backbone is: catalog, blocks, freezing, heads, weights, counting."""
