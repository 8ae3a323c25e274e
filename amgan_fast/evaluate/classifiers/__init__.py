"""What judges images: networks from anywhere, what they are given, and what a score under them has to say of them."""
