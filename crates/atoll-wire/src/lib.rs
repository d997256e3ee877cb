//! The agent protocol: what a center and an agent say to each other over one outbound stream.
