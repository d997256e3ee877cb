//! What is wrong with a webhook configuration as it is written.

use atoll_kube::{
    FieldError,
    names::is_dns1123_subdomain,
    status::{child, index},
};
use serde_json::Value;

use crate::admission::policy::{Offers, check_conditions, list, text};

/// What is wrong with the webhooks of a configuration.
pub(crate) fn check(configuration: &Value, errors: &mut Vec<FieldError>) {
    let mut names = Vec::new();
    for (i, hook) in list(configuration, "webhooks").iter().enumerate() {
        let at = index("webhooks", i);
        let name = text(hook, "name");
        name_rules(name, &child(&at, "name"), errors);
        if names.contains(&name) {
            errors.push(FieldError::duplicate(child(&at, "name"), name));
        }
        names.push(name);
        match text(hook, "sideEffects") {
            "None" | "NoneOnDryRun" => {}
            "" => errors.push(FieldError::required(
                child(&at, "sideEffects"),
                "must specify one of None, NoneOnDryRun",
            )),
            other => errors.push(FieldError::not_supported(
                child(&at, "sideEffects"),
                other,
                ["None", "NoneOnDryRun"],
            )),
        }
        review_versions(hook, "admissionReviewVersions", &at, errors);
        if let Some(seconds) = hook.get("timeoutSeconds").and_then(Value::as_i64)
            && !(1..=30).contains(&seconds)
        {
            errors.push(FieldError::invalid(
                child(&at, "timeoutSeconds"),
                seconds,
                "the timeout value must be between 1 and 30 seconds",
            ));
        }
        client_config(&hook["clientConfig"], &child(&at, "clientConfig"), errors);
        let offers = Offers {
            params: false,
            authorizer: true,
        };
        let conditions = list(hook, "matchConditions");
        check_conditions(conditions, &child(&at, "matchConditions"), offers, errors);
    }
}

fn name_rules(name: &str, at: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(at, ""));
    } else if let Err(why) = is_dns1123_subdomain(name) {
        errors.push(FieldError::invalid(at, name, why));
    } else if name.split('.').count() < 3 {
        errors.push(FieldError::invalid(
            at,
            name,
            "should be a domain with at least three segments separated by dots",
        ));
    }
}

fn review_versions(hook: &Value, field: &str, at: &str, errors: &mut Vec<FieldError>) {
    let versions = list(hook, field);
    let at = child(at, field);
    if versions.is_empty() {
        errors.push(FieldError::required(at, "must specify one of v1, v1beta1"));
    } else if !versions.iter().any(|v| v == "v1" || v == "v1beta1") {
        errors.push(FieldError::invalid(
            at,
            versions.to_vec(),
            "must include at least one of v1, v1beta1",
        ));
    }
}

/// Exactly one address, and an URL that is one.
pub(crate) fn client_config(config: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let service = &config["service"];
    match (config["url"].as_str(), service.is_object()) {
        (Some(url), false) => url_rules(url, &child(at, "url"), errors),
        (None, true) => {
            for field in ["name", "namespace"] {
                if text(service, field).is_empty() {
                    let what = format!("service {field} is required");
                    errors.push(FieldError::required(
                        child(at, &format!("service.{field}")),
                        what,
                    ));
                }
            }
        }
        _ => errors.push(FieldError::required(
            at,
            "exactly one of url or service is required",
        )),
    }
}

fn url_rules(url: &str, at: &str, errors: &mut Vec<FieldError>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let Some((scheme, rest)) = url.split_once("://") else {
        let why = format!("'https' is the only allowed URL scheme{FORM}");
        errors.push(FieldError::invalid(at, url, why));
        return;
    };
    let mut wrong = |value: &str, why: &str| {
        errors.push(FieldError::invalid(at, value, format!("{why}{FORM}")))
    };
    if scheme != "https" {
        wrong(scheme, "'https' is the only allowed URL scheme");
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.rsplit('@').next().is_none_or(str::is_empty) {
        wrong("", "host must be specified");
    }
    for (sign, why) in [
        ('@', "user information is not permitted in the URL"),
        ('#', "fragments are not permitted in the URL"),
        ('?', "query parameters are not permitted in the URL"),
    ] {
        let part = if sign == '@' { host } else { rest };
        if let Some((_, found)) = part.split_once(sign) {
            wrong(found, why);
        }
    }
}
