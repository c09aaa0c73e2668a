"""ImageNot from LAION's metadata: classes, match, score, select, download, clean, write."""
