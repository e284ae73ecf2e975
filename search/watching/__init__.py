"""What a person sees while trials train: the live table, and files for TensorBoard."""
