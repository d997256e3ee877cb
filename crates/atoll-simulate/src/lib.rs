//! A fleet that is not there: a real center, driven over its API and the agent protocol by simulated edges behind hubs, and checked against what was asked for.
//!
//! The center is a process of its own and knows nothing of being tried: what happens here any client and any hub could do. The oracle ([`oracle`]) reads only what the public API
//! shows and shares no code with placement, rendering or status. A simulated edge ([`edges`]) decodes every body it is sent, keeps what it holds, and reports only that.
//!
//! | module | its part |
//! |---|---|
//! | [`load`] | what is created and changed: a function of the seed |
//! | [`oracle`] | what each destination should have |
//! | [`edges`] | what each destination has |
//! | [`hub`] | one stream that carries many simulated edges |
//! | [`center`], [`api`] | the process under test, and writing to it |
//! | [`run`] | the order of events |
//! | [`report`] | what came of it |

mod api;
mod center;
mod edges;
mod hub;
pub mod load;
pub mod oracle;
mod report;
mod run;
mod slots;

pub use report::Report;
pub use run::{Options, run};
