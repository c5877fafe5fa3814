"""Who may sign what: keys, the chain of roots, and the one gate through which signed bytes become records."""
