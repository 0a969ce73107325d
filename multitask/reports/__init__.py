"""Reports of scores: one page that needs nothing else, and its pictures as files."""
