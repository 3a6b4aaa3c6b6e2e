//! The last step of a span in this process: its names, and out.

use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::names;

/// An exporter behind which spans have the names that are promised.
#[derive(Debug)]
pub(super) struct Named<E>(pub(super) E);

impl<E: SpanExporter> SpanExporter for Named<E> {
    async fn export(&self, mut spans: Vec<SpanData>) -> OTelSdkResult {
        spans.retain(|span| !names::is_replaced(span));
        spans.iter_mut().for_each(names::rename);
        self.0.export(spans).await
    }

    fn shutdown_with_timeout(&self, within: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(within)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
