"""Many images at once: rules for their bases, reports, ends of support."""
