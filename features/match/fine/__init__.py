"""The fine match model: reads words one by one and pictures part by part, and learns in several ways."""
