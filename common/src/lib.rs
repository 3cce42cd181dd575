//! What ClusterRunner's daemons and its client agree on.
