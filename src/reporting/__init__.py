"""From tracked runs to a page that can be read, printed and sent: gathered, put into sections, rendered."""
