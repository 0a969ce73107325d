"""How captions are scored, and what a report shows of them."""
