"""What follows the service at a short distance: the streams of answers and events, read by consumer groups."""
