//! Maintainers' tasks: regenerating the data files that the crates carry.

fn main() {}
