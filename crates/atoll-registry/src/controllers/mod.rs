//! The controllers that belong to the API machinery itself.
