"""The million-agent model: the overlay and the flood of the real node as arrays, for fleets that no machine could run node by
node. It is a model, not the node; `docs/simulator-internet.md` says how far it agrees with the simulator that runs the node.

    regions  -->  overlay  -->  flood  -->  containment  -->  sweep  -->  table, plot
    who is where  who links     first        when the last     sizes
                  with whom     arrivals     one denies

Needs numpy (the extra `internet`); everything else of `faramesh_sim` does without.
"""
