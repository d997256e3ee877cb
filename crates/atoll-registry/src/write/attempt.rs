//! One try at one write: resolved, admitted and checked against one snapshot, then appended if the checks still hold.
//!
//! Whatever the decision rests on is either in the append's checks or does not matter; so a lost race is never an error
//! to the client, only another attempt.

use std::sync::{Arc, OnceLock};

use atoll_kube::{
    Row, Status,
    definition::{Source, Verb},
    meta,
    patch::managed,
};
use atoll_store::{Append, AppendError, At, Check, Key, Revision, Snapshot, Version, Write};
use bytes::Bytes;
use serde_json::Value;

use super::{dependents, strategy, warnings};
use crate::{
    Answer, Call, FieldValidation, Object, Operation, Outcome, Registry, ResourceId, Review,
    WriteOptions, admission, convert,
    read::{
        read_error, row,
        target::{Place, Target},
    },
    surface::crd,
    surface_key,
};

/// Tries before giving up on an object that everybody writes at once.
const ATTEMPTS: usize = 100;

/// What stays the same over all attempts of a write.
pub(crate) struct Flow<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) call: &'a Call,
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) validation: FieldValidation,
}

/// Why an attempt ended without an answer.
pub(crate) enum Stop {
    /// For good.
    Refused(Status),
    /// This check failed: somebody else was faster.
    Lost(Check),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl<'a> Flow<'a> {
    pub(crate) fn new(
        registry: &'a Registry,
        call: &'a Call,
        options: &WriteOptions,
    ) -> Result<Self, Status> {
        let manager = managed::manager_name(options.field_manager.as_deref(), &call.user_agent);
        let errors = meta::validate_field_manager(&manager, "fieldManager");
        if options.field_manager.is_some() && !errors.is_empty() {
            let kind = atoll_kube::GroupKind::new("meta.k8s.io", "PatchOptions");
            return Err(Status::invalid(&kind, "", &errors));
        }
        Ok(Self {
            registry,
            call,
            dry_run: options.dry_run,
            manager,
            validation: options.field_validation,
        })
    }

    /// For deletes, which have no manager and no body to validate.
    pub(crate) fn for_delete(registry: &'a Registry, call: &'a Call, dry_run: bool) -> Self {
        Self {
            registry,
            call,
            dry_run,
            manager: String::new(),
            validation: FieldValidation::Ignore,
        }
    }

    /// Starts an attempt on the newest state.
    pub(crate) fn begin(&'a self, verb: Verb) -> Result<Attempt<'a>, Status> {
        if self.registry.computed(&self.call.resource).is_some() {
            return Err(Status::method_not_supported(
                &self.call.resource.group_resource(),
                verb.as_str(),
            ));
        }
        let snapshot = self
            .registry
            .inner
            .store
            .snapshot(At::Latest)
            .map_err(read_error)?;
        let target = Target::resolve(self.registry, snapshot.as_ref(), self.call, verb)?;
        let place = target.place()?.clone();
        Ok(Attempt {
            flow: self,
            snapshot,
            target,
            place,
            warnings: Vec::new(),
            checks: Vec::new(),
            writes: Vec::new(),
            removes: None,
            admission_row: OnceLock::new(),
        })
    }

    /// Counts an attempt that was lost; an error when there were too many.
    pub(crate) fn again(&self, lost: &mut usize) -> Result<(), Status> {
        *lost += 1;
        if *lost < ATTEMPTS {
            return Ok(());
        }
        let name = self.call.name.as_deref().unwrap_or_default();
        Err(Status::modified(&self.call.resource.group_resource(), name))
    }
}

/// An object as the store has it.
pub(crate) struct Live {
    pub(crate) version: Version,
    /// At the version of the request, with resourceVersion.
    pub(crate) value: Value,
}

pub(crate) struct Attempt<'a> {
    pub(crate) flow: &'a Flow<'a>,
    pub(crate) snapshot: Arc<dyn Snapshot>,
    pub(crate) target: Target,
    pub(crate) place: Place,
    pub(crate) warnings: Vec<String>,
    pub(crate) checks: Vec<Check>,
    pub(crate) writes: Vec<Write>,
    /// An object without dependents that this append removes: where its dependents would be found, and the garbage row
    /// that would be owed them.
    pub(crate) removes: Option<(Vec<u8>, Key)>,
    /// The cluster's admission row, once it was looked for.
    admission_row: OnceLock<Option<Version>>,
}

impl Attempt<'_> {
    /// The row that says what admission is configured here; read once, and absent nearly everywhere.
    pub(crate) fn admission_row(&self) -> Result<Option<&Version>, Status> {
        if let Some(known) = self.admission_row.get() {
            return Ok(known.as_ref());
        }
        let key = admission::row::admission_key(&self.place.cluster);
        let found = self.snapshot.get(&key).map_err(read_error)?;
        Ok(self.admission_row.get_or_init(|| found).as_ref())
    }

    /// The key of an object of the call's resource in the call's namespace.
    pub(crate) fn key(&self, name: &str) -> Key {
        self.target.id.key(
            self.place.cluster.as_str(),
            self.flow.call.namespace.as_deref(),
            name,
        )
    }

    /// The object at `key`.
    pub(crate) fn live(&self, key: &Key) -> Result<Option<Live>, Status> {
        let Some(version) = self.snapshot.get(key).map_err(read_error)? else {
            return Ok(None);
        };
        let value = convert::served(&self.target.served, row(&version.row)?, version.modified.0);
        Ok(Some(Live { version, value }))
    }

    /// The same, where its absence is the caller's fault.
    pub(crate) fn existing(&self, key: &Key, name: &str) -> Result<Live, Status> {
        self.live(key)?
            .ok_or_else(|| Status::not_found(&self.target.group_resource(), name))
    }

    /// Runs admission: the CRD's own rules, then every hook of the resource.
    pub(crate) async fn admit(
        &mut self,
        operation: Operation,
        old: Option<&Value>,
        object: &mut Value,
    ) -> Result<(), Status> {
        let registry = self.flow.registry;
        let resource = self.target.group_resource();
        let is_crd = self.target.id == crd::resource();
        let configures = admission::row::Family::of(&self.target.id);
        let hooks = registry
            .inner
            .hooks
            .get(&resource)
            .map_or(&[][..], Vec::as_slice);
        if !is_crd
            && configures.is_none()
            && hooks.is_empty()
            && registry.inner.all_hooks.is_empty()
        {
            return Ok(());
        }
        let mut review = Review {
            call: self.flow.call,
            cluster: &self.place.cluster,
            kind: self.place.kind,
            definition: &self.target.served.definition,
            operation,
            subresource: self.flow.call.resource.subresource.as_deref(),
            snapshot: &self.snapshot,
            old,
            object,
            dry_run: self.flow.dry_run,
            warnings: &mut self.warnings,
            checks: std::mem::take(&mut self.checks),
            writes: std::mem::take(&mut self.writes),
        };
        if is_crd {
            crd::admit(&self.place.surface, &mut review)?;
        }
        if let Some(family) = configures {
            admission::row::admit(family, &mut review)?;
        }
        for hook in registry.inner.all_hooks.iter().chain(hooks) {
            hook.admit(registry, &mut review).await?;
        }
        let Review { checks, writes, .. } = review;
        self.checks = checks;
        self.writes = writes;
        Ok(())
    }

    /// How this write is recorded in managedFields.
    pub(crate) fn with_record<T>(&self, record: impl FnOnce(&managed::Write<'_>) -> T) -> T {
        let served = &self.target.served;
        let version = served.version();
        record(&managed::Write {
            api_version: &served.api_version(),
            kind: served.kind(),
            schema: &version.schema,
            native: served.definition.source == Source::Builtin,
            has_status: version.subresources.status,
            subresource: self.flow.call.resource.subresource.as_deref().unwrap_or(""),
            manager: &self.flow.manager,
            now: self.flow.call.now,
        })
    }

    /// Adds the checks that hold for anything new: its namespace lives, its definition stands, its cluster takes it.
    pub(crate) fn check_place(&mut self) -> Result<(), Status> {
        let cluster = &self.place.cluster;
        if let Some(namespace) = self.flow.call.namespace.as_deref() {
            let namespaces = strategy::namespaces();
            let key = ResourceId::builtin("", "namespaces").key(cluster.as_str(), None, namespace);
            let found = self.snapshot.get(&key).map_err(read_error)?;
            let version = found.ok_or_else(|| Status::not_found(&namespaces, namespace))?;
            if row(&version.row)?.is_deleting() {
                let why = format!(
                    "unable to create new content in namespace {namespace} because it is being terminated"
                );
                let name = self.flow.call.name.as_deref().unwrap_or_default();
                return Err(
                    Status::forbidden(&self.target.group_resource(), name, why).cause(
                        "NamespaceTerminating",
                        format!("namespace {namespace} is being terminated"),
                        "metadata.namespace",
                    ),
                );
            }
            self.checks.push(Check::At(key, version.modified));
        }
        if !self.target.id.identity.is_empty() {
            let key = surface_key(cluster);
            if let Some(version) = self.snapshot.get(&key).map_err(read_error)? {
                self.checks.push(Check::At(key, version.modified));
            }
        }
        let guard = self
            .flow
            .registry
            .inner
            .resolver
            .guard(cluster, self.snapshot.as_ref())?;
        self.checks.extend(guard);
        Ok(())
    }

    /// Notes the warnings that a write of this object deserves.
    pub(crate) fn warn(&mut self) {
        let served = &self.target.served;
        self.warnings.extend(served.deprecation_warning());
        self.warnings
            .extend(warnings::unenforced(self.place.kind, &served.definition));
    }

    /// Adds what the garbage collector must know about new owner references.
    pub(crate) fn note_owners(&mut self, object: &Value) -> Result<(), Status> {
        if self.place.kind.collects_garbage() {
            dependents::note_owners(self, object)?;
        }
        Ok(())
    }

    /// The row of an object at the request's version.
    pub(crate) fn encode(&self, mut object: Value) -> Bytes {
        convert::stored(&self.target.served, &mut object);
        Row::encode(&object)
    }

    /// Appends `own` and everything that was added on the way. A dry run appends nothing and gives no revision.
    pub(crate) async fn append(
        &mut self,
        own: Option<Write>,
        check: Check,
    ) -> Result<Option<Revision>, Stop> {
        if self.flow.dry_run {
            return Ok(None);
        }
        let mut checks = std::mem::take(&mut self.checks);
        checks.push(check);
        let mut writes = std::mem::take(&mut self.writes);
        writes.extend(own);
        let resource = || self.target.group_resource();
        match self
            .flow
            .registry
            .inner
            .store
            .append(Append { checks, writes })
            .await
        {
            Ok(revision) => {
                if let Some((owned, garbage)) = self.removes.take() {
                    dependents::look_again(self.flow.registry, &owned, garbage).await?;
                }
                Ok(Some(revision))
            }
            Err(AppendError::Failed { check, .. }) => Err(Stop::Lost(check)),
            Err(AppendError::Invalid(why)) => {
                Err(Status::internal(format!("{}: {why}", resource())).into())
            }
            Err(AppendError::Storage(why)) => Err(Status::internal(why).into()),
            Err(AppendError::Stopped) => {
                Err(Status::service_unavailable("the store is shutting down").into())
            }
        }
    }

    /// The answer that shows a row.
    pub(crate) fn answer(
        self,
        key: Key,
        revision: Revision,
        row: Bytes,
        created: bool,
    ) -> Result<Answer, Status> {
        let object = Object {
            key,
            revision,
            row,
            served: self.target.served,
        };
        let outcome = Outcome::Object(convert::shown(object)?);
        Ok(Answer {
            outcome,
            warnings: self.warnings,
            created,
        })
    }
}
