"""Networks that run without torch: exported once, then read by onnxruntime wherever a query must be encoded."""
