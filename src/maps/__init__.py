"""Maps of what a network looks at: attribution in a window, and one map of an image out of its windows'."""
