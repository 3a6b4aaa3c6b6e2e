//! What the standard variables ask for, as far as the libraries below do not read them themselves.

use std::time::Duration;

/// How long one request to a collector may take, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise: 10 s.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is to be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) traces: bool,
    pub(super) metrics: bool,
    pub(super) timeout: Duration,
    /// Whether somebody has named this service.
    pub(super) is_named: bool,
}

impl Wanted {
    /// As the variables say. Nothing is exported unless a collector or an exporter is named.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let wants = |signal: &str| {
            let endpoints = [format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT".into()];
            match variable(&format!("OTEL_{signal}_EXPORTER")).as_deref() {
                Some("otlp") => !is_off,
                Some("none") => false,
                Some(other) => {
                    tracing::warn!(exporter = other, signal, "there is no such exporter here: otlp or none");
                    false
                }
                None => !is_off && endpoints.iter().any(|name| variable(name).is_some()),
            }
        };
        if let Some(other) = variable("OTEL_EXPORTER_OTLP_PROTOCOL").filter(|protocol| protocol != "http/protobuf") {
            tracing::warn!(protocol = other, "telemetry is sent as http/protobuf and nothing else");
        }
        let ms = variable("OTEL_EXPORTER_OTLP_TIMEOUT").and_then(|text| text.parse().ok()).map(Duration::from_millis);
        let named = variable("OTEL_RESOURCE_ATTRIBUTES")
            .is_some_and(|text| text.split(',').any(|one| one.trim_start().starts_with("service.name=")));
        Self {
            traces: wants("TRACES"),
            metrics: wants("METRICS"),
            timeout: ms.unwrap_or(TIMEOUT),
            is_named: named || variable("OTEL_SERVICE_NAME").is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(variables: &[(&str, &str)]) -> Wanted {
        Wanted::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn nothing_is_exported_until_somebody_asks_for_it() {
        let of = |variables: &[(&str, &str)]| (wanted(variables).traces, wanted(variables).metrics);
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert_eq!(of(&[]), (false, false));
        assert_eq!(of(&[endpoint]), (true, true));
        assert_eq!(of(&[endpoint, ("OTEL_SDK_DISABLED", "True")]), (false, false));
        assert_eq!(of(&[endpoint, ("OTEL_METRICS_EXPORTER", "none")]), (true, false));
        assert_eq!(of(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/v1/traces")]), (true, false));
        assert_eq!(of(&[("OTEL_METRICS_EXPORTER", "otlp")]), (false, true));
        assert_eq!(of(&[endpoint, ("OTEL_TRACES_EXPORTER", "console")]), (false, true));
    }

    #[test]
    fn times_and_names_are_read() {
        assert_eq!(wanted(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "250")]).timeout, Duration::from_millis(250));
        assert_eq!(wanted(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]).timeout, TIMEOUT);
        assert!(wanted(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=x")]).is_named);
        assert!(!wanted(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b")]).is_named);
    }
}
