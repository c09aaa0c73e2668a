"""JPEG files: their headers, and whether their entropy-coded scans are whole."""
