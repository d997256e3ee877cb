//! Who gets what, in which form, and what the fleet's reports add up to. Pure.
