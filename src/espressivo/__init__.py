"""espressivo learns and generates expressive musical performances."""

__version__ = "0.1.0"
