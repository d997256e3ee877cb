//! Which form an answer takes: JSON or YAML, whole objects, a Table, or metadata only.
//!
//! A client lists what it likes best; we take the first that we can make. Protobuf we cannot, so a client that names
//! JSON too gets JSON, and one that names only protobuf gets 406.

use atoll_kube::status::Status;
use http::HeaderMap;
use http::header::ACCEPT;

/// How an answer is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    Json,
    Yaml,
}

impl Encoding {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
        }
    }
}

/// The `meta.k8s.io` version of a Table or of partial metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Meta {
    V1,
    V1Beta1,
}

impl Meta {
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

/// What of an object is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// All of it.
    Object,
    /// A row of cells.
    Table(Meta),
    /// Its metadata.
    Partial(Meta),
}

const RESOURCE_TYPES: [&str; 2] = ["application/json", "application/yaml"];

/// A parsed `Accept` header, best first.
#[derive(Debug, Clone)]
pub(crate) struct Accept(Vec<Range>);

#[derive(Debug, Clone)]
struct Range {
    media_type: String,
    parameters: Vec<(String, String)>,
}

impl Range {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn encoding(&self) -> Option<Encoding> {
        match self.media_type.as_str() {
            "application/json" | "application/*" | "*/*" => Some(Encoding::Json),
            "application/yaml" => Some(Encoding::Yaml),
            _ => None,
        }
    }
}

impl Accept {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut ranges: Vec<(f32, Range)> = Vec::new();
        for value in headers.get_all(ACCEPT) {
            for part in value.to_str().unwrap_or_default().split(',') {
                let mut pieces = part.split(';').map(str::trim);
                let media_type = pieces.next().unwrap_or_default().to_ascii_lowercase();
                if media_type.is_empty() {
                    continue;
                }
                let parameters: Vec<_> = pieces
                    .filter_map(|piece| piece.split_once('='))
                    .map(|(key, value)| {
                        (
                            key.trim().to_ascii_lowercase(),
                            value.trim().trim_matches('"').to_owned(),
                        )
                    })
                    .collect();
                let quality = parameters
                    .iter()
                    .find(|(key, _)| key == "q")
                    .and_then(|(_, value)| value.parse().ok())
                    .unwrap_or(1.0);
                if quality > 0.0 {
                    ranges.push((
                        quality,
                        Range {
                            media_type,
                            parameters,
                        },
                    ));
                }
            }
        }
        if ranges.is_empty() && !headers.contains_key(ACCEPT) {
            let anything = Range {
                media_type: "*/*".to_owned(),
                parameters: Vec::new(),
            };
            return Self(vec![anything]);
        }
        // Stable: equally liked ones stay in the client's order.
        ranges.sort_by(|a, b| b.0.total_cmp(&a.0));
        Self(ranges.into_iter().map(|(_, range)| range).collect())
    }

    /// The form of an answer that holds objects.
    pub(crate) fn resource(&self) -> Result<(Encoding, Form), Status> {
        for range in &self.0 {
            let Some(encoding) = range.encoding() else {
                continue;
            };
            let meta = match (range.parameter("g"), range.parameter("v")) {
                (Some("meta.k8s.io"), Some("v1")) => Some(Meta::V1),
                (Some("meta.k8s.io"), Some("v1beta1")) => Some(Meta::V1Beta1),
                _ => None,
            };
            match (range.parameter("as"), meta) {
                (None, _) => return Ok((encoding, Form::Object)),
                (Some("Table"), Some(meta)) => return Ok((encoding, Form::Table(meta))),
                (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some(meta)) => {
                    return Ok((encoding, Form::Partial(meta)));
                }
                _ => {}
            }
        }
        Err(Status::not_acceptable(&RESOURCE_TYPES))
    }

    /// The form of an answer that is just itself: a Status, a document.
    pub(crate) fn plain(&self) -> Result<Encoding, Status> {
        let as_is = self
            .0
            .iter()
            .filter(|range| range.parameter("as").is_none());
        as_is
            .filter_map(Range::encoding)
            .next()
            .ok_or_else(|| Status::not_acceptable(&RESOURCE_TYPES))
    }

    /// The encoding for an error: what was asked for if we can, else JSON.
    pub(crate) fn error(&self) -> Encoding {
        self.0
            .iter()
            .find_map(Range::encoding)
            .unwrap_or(Encoding::Json)
    }

    /// The version of aggregated discovery asked for before the plain form; `None` for plain.
    pub(crate) fn aggregated_discovery(&self) -> Option<&'static str> {
        for range in self
            .0
            .iter()
            .filter(|range| range.encoding() == Some(Encoding::Json))
        {
            if range.parameter("g") == Some("apidiscovery.k8s.io")
                && range.parameter("as") == Some("APIGroupDiscoveryList")
            {
                match range.parameter("v") {
                    Some("v2") => return Some("v2"),
                    Some("v2beta1") => return Some("v2beta1"),
                    _ => {}
                }
            } else if range.parameter("as").is_none() {
                return None;
            }
        }
        None
    }

    fn names(&self, media_type: &str) -> bool {
        self.0.iter().any(|range| range.media_type == media_type)
    }
}

/// `/openapi/v2`: whether the client wants gnostic protobuf rather than JSON, and the content type to name.
pub(crate) fn openapi_v2_form(accept: &Accept) -> Option<&'static str> {
    [
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    ]
    .into_iter()
    .find(|form| accept.names(form))
    // The form with `@` is no valid media type, so it is answered with the valid one, as Kubernetes does.
    .map(|_| "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str) -> Accept {
        let mut headers = HeaderMap::new();
        if !text.is_empty() {
            headers.insert(ACCEPT, text.parse().unwrap());
        }
        Accept::of(&headers)
    }

    #[test]
    fn the_first_form_we_can_make_is_taken() {
        use Encoding::{Json, Yaml};
        for (header, expected) in [
            ("", Some((Json, Form::Object))),
            ("*/*", Some((Json, Form::Object))),
            ("application/json", Some((Json, Form::Object))),
            ("application/yaml", Some((Yaml, Form::Object))),
            (
                "application/vnd.kubernetes.protobuf, application/json",
                Some((Json, Form::Object)),
            ),
            ("application/vnd.kubernetes.protobuf", None),
            ("text/html", None),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Some((Json, Form::Table(Meta::V1))),
            ),
            (
                "application/json;as=Table;v=v2;g=meta.k8s.io,application/json",
                Some((Json, Form::Object)),
            ),
            ("application/json;as=Table;v=v2;g=meta.k8s.io", None),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
                Some((Json, Form::Partial(Meta::V1))),
            ),
            (
                "application/yaml;q=0.5, application/json;q=0.9",
                Some((Json, Form::Object)),
            ),
            ("application/json;q=0", None),
            ("application/json;stream=watch", Some((Json, Form::Object))),
        ] {
            assert_eq!(accept(header).resource().ok(), expected, "{header}");
        }
    }

    #[test]
    fn aggregated_discovery_is_asked_for_by_name() {
        let both = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(accept(both).aggregated_discovery(), Some("v2"));
        let old = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(accept(old).aggregated_discovery(), Some("v2beta1"));
        assert_eq!(accept("application/json, */*").aggregated_discovery(), None);
        assert_eq!(accept("").aggregated_discovery(), None);
    }
}
