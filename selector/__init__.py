"""Advisor for transfer learning in computer vision.

`selector.advisor.recommend` is the story from top to bottom. Importing this package does nothing else:
no torch, no files read, no machine inspected.
"""

__version__ = "0.1.0"
