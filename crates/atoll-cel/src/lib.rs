//! Kubernetes' CEL: typed, cost-estimated, metered. Every expression in Atoll runs here.
//!
//! A source text becomes a [`Program`] once: parsed, type-checked against an [`Environment`] (its variables and the
//! functions of Kubernetes 1.36), and its worst-case cost estimated with upstream's rules. A program is evaluated any number
//! of times over [`Bindings`], which borrow JSON trees without copying them, under a [`Budget`].
//!
//! What always holds: neither a source text nor an object can panic the process, overflow its stack, or use more time and
//! memory than the budget says. The crate does no I/O and reads no clock: `now` is a variable like any other.
//!
//! ```
//! use atoll_cel::{Bindings, Budget, Environment, Program, Type, Value};
//! let environment = Environment::kubernetes().variable("obj", Type::Dyn);
//! let program = Program::compile(&environment, "obj.spec.replicas > 2").unwrap();
//! let object = serde_json::json!({"spec": {"replicas": 3}});
//! let answer = program.evaluate(&Bindings::new().json("obj", &object), Budget::default());
//! assert_eq!(answer, Ok(Value::Bool(true)));
//! ```

mod check;
mod cost;
mod environment;
mod error;
mod escape;
mod eval;
mod library;
mod program;
mod reads;
mod schema;
mod syntax;
mod time;
mod types;
mod value;

pub use environment::Environment;
pub use error::{CompileError, EvalError, EvalErrorKind};
pub use escape::{escape, unescape};
pub use library::authorizer::{Answer, Authorizer, Question};
pub use program::{Bindings, Budget, Program, Variables};
pub use reads::{Read, Step};
pub use time::{Duration, Timestamp};
pub use types::{Bounds, Field, ListKind, Noted, ObjectType, Type};
pub use value::{Key, Map, Value};
