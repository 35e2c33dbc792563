"""A whole care network on one machine, with every check on: for trying, demonstrating and testing."""
