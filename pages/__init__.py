"""The dashboard's pages: one script a menu entry, the parts that they are drawn with, and what all of them use."""
