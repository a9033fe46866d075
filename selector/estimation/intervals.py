"""The interval that estimates are stated with."""

NORMAL_80 = 1.2816  # standard deviations on either side that hold 80 % of a normal distribution
