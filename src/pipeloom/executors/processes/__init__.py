"""Workers that are processes; ``pool`` shows how the parts fit together. A worker imports only ``child``."""
