"""Reports: what happened since the last one, counted as it happens, and told as text and as a chart."""
