"""What is known about an item, a user, an event: shop data, encoders, the image-text match, fusion."""
