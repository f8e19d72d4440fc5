"""Search: words, a picture, or both, over a shop's items; needs numpy and onnxruntime alone."""
