"""espressivo learns and generates expressive musical performances."""
