"""A page that shows one run at a glance."""
