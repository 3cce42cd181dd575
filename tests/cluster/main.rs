//! Whole clusters: the real programs on free ports of the loopback interface, with real repositories.
