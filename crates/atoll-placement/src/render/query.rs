//! JSONPath (RFC 9535) over objects that are changed: what a CustomTransform removes, and where a Customizer puts a value.
//!
//! KubeStellar's syntax: `$.spec.ports[*].nodePort`, `$..annotations["a.b/c"]`, `$.containers[?(@.name == "web")].image`,
//! `[0]`, `[-1]`, `[1:3]`. The dollar may be left out. A parsed query names something below the root, never the whole.
