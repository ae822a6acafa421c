//! The layers around the services.

mod authenticate;
mod call_metrics;
mod call_place;
mod call_span;
mod deadline;
mod dispatch;
mod header_size;
mod request_body;

pub use authenticate::{AuthenticateLayer, bearer};
pub use call_metrics::{CallMetricsLayer, new_counts};
pub(super) use call_place::CallPlaceLayer;
pub(super) use call_span::CallSpanLayer;
pub(super) use deadline::DeadlineLayer;
pub use deadline::patience;
pub(super) use dispatch::DispatchLayer;
pub(super) use header_size::HeaderSizeLayer;
