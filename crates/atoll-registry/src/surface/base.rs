//! The built-in part of surfaces: one for each kind of cluster, made on first use, shared for ever.

use std::sync::{Arc, LazyLock, OnceLock};

use atoll_kube::{Definition, builtin};
use sha2::{Digest as _, Sha256};

use super::{Entry, Surface, Table};
use crate::ClusterKind;

pub(super) struct Base {
    kind: ClusterKind,
    pub(super) id: String,
    pub(super) table: Table,
    pub(super) definitions: Arc<[Arc<Definition>]>,
    surface: OnceLock<Arc<Surface>>,
}

impl Base {
    fn new(kind: ClusterKind, definitions: &[Arc<Definition>]) -> Self {
        let mut hash = Sha256::new();
        for definition in definitions {
            hash.update(definition.id.0);
        }
        let entries = definitions
            .iter()
            .map(|d| Entry {
                definition: d.clone(),
                identity: "",
                terminating: false,
            })
            .collect();
        Self {
            kind,
            id: hex::encode(&hash.finalize()[..8]),
            table: Table::new(entries),
            definitions: definitions.into(),
            surface: OnceLock::new(),
        }
    }

    /// The surface of a cluster without definitions of its own.
    pub(super) fn surface(&'static self) -> Arc<Surface> {
        self.surface
            .get_or_init(|| Arc::new(Surface::new(self.kind, "", Vec::new())))
            .clone()
    }
}

/// The base of a kind of cluster.
pub(super) fn of(kind: ClusterKind) -> &'static Base {
    macro_rules! bases {
        ($($variant:ident),*) => {
            match kind {
                $(ClusterKind::$variant => {
                    static BASE: LazyLock<Base> = LazyLock::new(|| {
                        Base::new(ClusterKind::$variant, builtin::set(ClusterKind::$variant.base()))
                    });
                    &BASE
                })*
            }
        };
    }
    bases!(Root, Universal, Payload, Inventory, System, Kubernetes)
}

fn all() -> &'static Table {
    static ALL: LazyLock<Table> = LazyLock::new(|| {
        let entry = |d: &Arc<Definition>| Entry {
            definition: d.clone(),
            identity: "",
            terminating: false,
        };
        Table::new(builtin::definitions().iter().map(entry).collect())
    });
    &ALL
}

/// What answers for a built-in resource, whatever the cluster: for reads over all clusters.
pub fn everywhere(group: &str, resource: &str) -> Option<&'static Entry> {
    all().resource(group, resource)
}

/// What answers for a built-in kind, whatever the cluster.
pub fn everywhere_kind(group: &str, kind: &str) -> Option<&'static Entry> {
    all().kind(group, kind)
}
