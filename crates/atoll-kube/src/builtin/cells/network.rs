//! Services and what leads to them.

use serde_json::{Value, json};

use super::text::{NONE, UNSET, integer, joined, labels, list, or, selector, string, string_or};

pub(super) fn cell(kind: &str, heading: &str, o: &Value) -> Option<Value> {
    Some(match (kind, heading) {
        ("Service", "Type") => json!(string(o, "/spec/type")),
        ("Service", "Cluster-IP") => match list(o, "/spec/clusterIPs").first() {
            Some(ip) => ip.clone(),
            None => string_or(o, "/spec/clusterIP", NONE),
        },
        ("Service", "External-IP") => external_ip(o).into(),
        ("Service", "Port(s)") => or(service_ports(o), NONE),
        ("Service", "Selector") => or(labels(o.pointer("/spec/selector")), NONE),
        ("Endpoints", "Endpoints") => endpoints(o).into(),
        ("EndpointSlice", "AddressType") => json!(string(o, "/addressType")),
        ("EndpointSlice", "Ports") => slice_ports(o).into(),
        ("EndpointSlice", "Endpoints") => {
            let all = list(o, "/endpoints").iter();
            few(all
                .flat_map(|e| list(e, "/addresses"))
                .filter_map(Value::as_str))
            .into()
        }
        ("Ingress", "Class") => match o.pointer("/spec/ingressClassName") {
            Some(class) => class.clone(),
            None => {
                let annotations = &o["metadata"]["annotations"];
                string_or(annotations, "/kubernetes.io~1ingress.class", NONE)
            }
        },
        ("Ingress", "Hosts") => ingress_hosts(o).into(),
        ("Ingress", "Address") => balancer(o).into(),
        ("Ingress", "Ports") => {
            let tls = !list(o, "/spec/tls").is_empty();
            if tls { "80, 443".into() } else { "80".into() }
        }
        ("IngressClass", "Controller") => json!(string(o, "/spec/controller")),
        ("IngressClass", "Parameters") => match o.pointer("/spec/parameters") {
            Some(p) => {
                let group = string(p, "/apiGroup");
                let dot = if group.is_empty() { "" } else { "." };
                format!("{}{dot}{group}/{}", string(p, "/kind"), string(p, "/name")).into()
            }
            None => NONE.into(),
        },
        ("NetworkPolicy", "Pod-Selector") => selector(o.pointer("/spec/podSelector")),
        ("IPAddress", "ParentRef") => {
            let parent = |field: &str| string(o, &format!("/spec/parentRef/{field}"));
            let parts = ["group", "resource", "namespace", "name"].map(parent);
            let parts: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
            parts.join("/").into()
        }
        ("ServiceCIDR", "CIDRs") => joined(o, "/spec/cidrs").into(),
        _ => return None,
    })
}

/// The first three, and how many more there are.
fn few<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = all.collect();
    match all.len() {
        0 => UNSET.to_owned(),
        1..=3 => all.join(","),
        n => format!("{} + {} more...", all[..3].join(","), n - 3),
    }
}

fn balancer(o: &Value) -> String {
    let all = list(o, "/status/loadBalancer/ingress").iter();
    let all = all.map(|i| match string(i, "/ip") {
        "" => string(i, "/hostname"),
        ip => ip,
    });
    let mut all: Vec<&str> = all.filter(|a| !a.is_empty()).collect();
    all.sort_unstable();
    all.dedup();
    all.join(",")
}

fn external_ip(o: &Value) -> String {
    let fixed = joined(o, "/spec/externalIPs");
    match string(o, "/spec/type") {
        "ExternalName" => string(o, "/spec/externalName").to_owned(),
        "LoadBalancer" => match (balancer(o), fixed) {
            (b, f) if b.is_empty() && f.is_empty() => "<pending>".to_owned(),
            (b, f) if b.is_empty() => f,
            (b, f) if f.is_empty() => b,
            (b, f) => format!("{b},{f}"),
        },
        _ if fixed.is_empty() => NONE.to_owned(),
        _ => fixed,
    }
}

fn service_ports(o: &Value) -> String {
    let ports = list(o, "/spec/ports").iter().map(|p| {
        let (port, node) = (integer(p, "/port"), integer(p, "/nodePort"));
        let protocol = match string(p, "/protocol") {
            "" => "TCP",
            protocol => protocol,
        };
        match node {
            0 => format!("{port}/{protocol}"),
            _ => format!("{port}:{node}/{protocol}"),
        }
    });
    ports.collect::<Vec<_>>().join(",")
}

fn slice_ports(o: &Value) -> String {
    let ports: Vec<String> = list(o, "/ports")
        .iter()
        .map(|p| match p.get("port").and_then(Value::as_i64) {
            Some(port) => port.to_string(),
            None => "*".to_owned(),
        })
        .collect();
    few(ports.iter().map(String::as_str))
}

fn endpoints(o: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(o, "/subsets") {
        let addresses = list(subset, "/addresses");
        let ports = list(subset, "/ports");
        if ports.is_empty() {
            all.extend(addresses.iter().map(|a| string(a, "/ip").to_owned()));
        }
        for port in ports {
            all.extend(addresses.iter().map(|a| {
                let (ip, port) = (string(a, "/ip"), integer(port, "/port"));
                if ip.contains(':') {
                    format!("[{ip}]:{port}")
                } else {
                    format!("{ip}:{port}")
                }
            }));
        }
    }
    if all.is_empty() {
        return NONE.to_owned();
    }
    few(all.iter().map(String::as_str))
}

fn ingress_hosts(o: &Value) -> String {
    let hosts: Vec<&str> = list(o, "/spec/rules")
        .iter()
        .map(|r| string(r, "/host"))
        .filter(|h| !h.is_empty())
        .collect();
    if hosts.is_empty() {
        return "*".to_owned();
    }
    few(hosts.into_iter())
}
