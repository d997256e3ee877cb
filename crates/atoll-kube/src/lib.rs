//! What a Kubernetes object is: metadata, names, selectors, schemas, patches, tables. Pure.
