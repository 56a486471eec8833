"""What maintainers run: pages that are generated from the code."""
