"""Candidates and limits, ranking under uncertainty, the document's table, the claims audit."""
