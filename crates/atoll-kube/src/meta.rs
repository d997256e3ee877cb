//! Reading and writing `metadata`.
