"""How image models are searched: one verb a module of the same name."""
