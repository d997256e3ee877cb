//! List: a range of one snapshot, in pages that all come from one revision.
//!
//! Hot path: rows are handed on as stored bytes; only selectors look inside.

use std::sync::Arc;

use atoll_kube::{Status, definition::Verb};
use atoll_store::{At, Key, ReadError, Snapshot};

use super::{
    filter::Filter,
    read_error,
    target::{Showing, Target},
    token,
    token::Token,
    versions,
};
use crate::{Call, List, ListOptions, Object, ObjectKey, Registry};

/// Rows read between two yields to the other tasks of the thread.
const CHUNK: usize = 1000;

pub(crate) async fn list(
    registry: &Registry,
    call: &Call,
    options: &ListOptions,
) -> Result<List, Status> {
    if let Some(computed) = registry.computed(&call.resource) {
        return computed.list(registry, call, options).await;
    }
    let filters = token::filters(call, options);
    let (snapshot, after, mut remaining, consistent) = match options.continue_token.as_deref() {
        Some(text) if !text.is_empty() => {
            versions::check_continue(options)?;
            let token = Token::decode(text, filters)?;
            let snapshot = resume(registry, &token).await?;
            (
                snapshot,
                Some(token.last()?),
                token.remaining,
                token.revision.is_some(),
            )
        }
        _ => {
            let wanted = versions::for_list(options)?;
            (
                versions::snapshot(&registry.inner.store, wanted).await?,
                None,
                None,
                true,
            )
        }
    };
    let target = Target::resolve(registry, snapshot.as_ref(), call, Verb::List)?;
    let filter = Filter::new(&target, call, &options.labels, &options.fields)?;
    let prefixes = filter.prefixes(&target);
    let count = options.limit > 0 && after.is_none() && !filter.selects();
    if count {
        let mut total = 0;
        for prefix in &prefixes {
            total += snapshot.count(prefix).map_err(read_error)?;
        }
        remaining = Some(total);
    }

    let limit = usize::try_from(options.limit)
        .ok()
        .filter(|l| *l > 0)
        .unwrap_or(usize::MAX);
    let mut page = Page {
        showing: Showing::new(&target),
        objects: Vec::new(),
        limit,
        more: false,
    };
    let mut after = after;
    for prefix in prefixes {
        // Behind the prefix already: a page before covered it.
        if let Some(last) = &after
            && !last.starts_with(&prefix)
            && last.as_bytes() > prefix.as_bytes()
        {
            continue;
        }
        let mut from = after.take().filter(|last| last.starts_with(&prefix));
        loop {
            let next = page.fill(registry, snapshot.as_ref(), &prefix, from.as_ref(), &filter)?;
            if page.more || next.is_none() {
                break;
            }
            from = next;
            tokio::task::yield_now().await;
        }
        if page.more {
            break;
        }
    }
    let remaining = remaining.map(|n| n.saturating_sub(page.objects.len() as u64));
    let continue_token = match page.objects.last() {
        Some(last) if page.more => {
            let revision = consistent.then(|| snapshot.revision());
            Some(Token::new(revision, &last.key, filters, remaining).encode())
        }
        _ => None,
    };
    Ok(List {
        revision: snapshot.revision(),
        remaining: remaining.filter(|_| continue_token.is_some()),
        continue_token,
        served: target.served,
        objects: page.objects,
    })
}

/// The snapshot a token continues on, or 410 with a token that continues without it.
async fn resume(registry: &Registry, token: &Token) -> Result<Arc<dyn Snapshot>, Status> {
    let store = &registry.inner.store;
    let Some(revision) = token.revision else {
        store.barrier().await;
        return store.snapshot(At::Latest).map_err(read_error);
    };
    versions::wait_for(store.as_ref(), revision).await?;
    match store.snapshot(At::Exact(revision)) {
        Ok(snapshot) => Ok(snapshot),
        Err(ReadError::Compacted { .. }) => {
            Err(Status::expired_continue(Some(token.unpinned().encode())))
        }
        Err(error) => Err(read_error(error)),
    }
}

struct Page {
    showing: Showing,
    objects: Vec<Object>,
    limit: usize,
    /// There is something behind the page.
    more: bool,
}

impl Page {
    /// Reads a chunk; gives the key to go on from, or `None` at the end of the range.
    fn fill(
        &mut self,
        registry: &Registry,
        snapshot: &dyn Snapshot,
        prefix: &atoll_store::Prefix,
        from: Option<&Key>,
        filter: &Filter,
    ) -> Result<Option<Key>, Status> {
        let mut read = 0;
        for item in snapshot.range(prefix, from) {
            let (key, version) = item.map_err(read_error)?;
            if self.objects.len() >= self.limit {
                self.more = true;
                return Ok(None);
            }
            read += 1;
            let served = match ObjectKey::parse(&key) {
                Some(parts) if filter.matches(&parts, &version.row)? => {
                    Some(self.showing.of(registry, snapshot, parts.cluster)?)
                }
                _ => None,
            };
            let last = (read >= CHUNK).then(|| key.clone());
            if let Some(served) = served {
                let object = Object {
                    key,
                    revision: version.modified,
                    row: version.row,
                    served,
                };
                self.objects.push(crate::convert::shown(object)?);
            }
            if last.is_some() {
                return Ok(last);
            }
        }
        Ok(None)
    }
}
