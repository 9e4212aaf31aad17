"""A reader per data set, and those of folders and tables of the user."""
