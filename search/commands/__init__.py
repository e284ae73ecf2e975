"""The verbs as the command line takes them: arguments, options and what is printed."""
