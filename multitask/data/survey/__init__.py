"""Looking at data sets: what is wrong, what is in them, how they look, and writing them anew."""
