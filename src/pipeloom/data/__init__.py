"""What users' things become: text, names, values, rows, keys, instants, rates and totals."""
