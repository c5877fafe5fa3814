"""The rules subset of FPL, the Faramesh Policy Language (docs/fpl.md): source -> tokens -> tree -> closures."""
