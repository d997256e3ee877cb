//! kcp's semantics: workspaces, their types, logical clusters and who may enter them.
