"""The portfolio: scikit-learn pipelines of every kind, fitted side by side on any dataset."""
