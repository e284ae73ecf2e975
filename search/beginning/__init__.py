"""What passes before a training: input is read and checked, and its cost foretold."""
