"""Ways of writing annotations down, each read into a table and written from one."""
