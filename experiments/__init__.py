"""What is measured: one script a figure, in folders by subject; README.md lists them."""
