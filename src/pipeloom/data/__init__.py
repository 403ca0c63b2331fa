"""Conversions of what users pass in: text, names, values, rows, keys, instants, rates and totals."""
