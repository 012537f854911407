"""Arrays and rows in files of users: one reader, one set of names. Nothing in a file is ever executed."""
