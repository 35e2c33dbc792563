"""The documentation; this package only makes its generated pages."""
