"""The compiled part of training: the model, its optimizer, and the pure steps."""
