"""The activation cache: a frozen prefix's output, computed once for every image and view."""
