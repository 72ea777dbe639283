"""The dashboard's pages: one thin script each; `shared` is what they have in common."""
