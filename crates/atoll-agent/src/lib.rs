//! The edge process: enrols, receives, applies, heals and reports; works alone when disconnected.
