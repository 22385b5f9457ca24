"""What is timed: `make bench`."""
