"""threatwalk learns from published threat reports which sources to ask next."""

__version__ = "0.1.0"
